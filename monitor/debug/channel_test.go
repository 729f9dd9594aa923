package debug

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// pair is both halves of a channel over a real socket pair.
func pair(t *testing.T, y *toy) (c *Client, reports chan Report, served chan error) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	served, reports = make(chan error, 1), make(chan Report, 16)
	go func() {
		served <- Serve(FD(fds[0]), y)
		unix.Close(fds[0])
	}()
	unix.SetNonblock(fds[1], true)
	f := os.NewFile(uintptr(fds[1]), "channel")
	c, err = NewClient(f, func(r Report) { reports <- r }, func() { close(reports) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, reports, served
}

// TestChannel: every request reaches the Inferior and brings back what it says.
func TestChannel(t *testing.T) {
	y := newToy(7, 8)
	y.threads[7].parked, y.threads[7].stop = true, Stop{Reason: StopStart}
	y.threads[8].parked, y.threads[8].stop = true, Stop{Reason: StopRequested}
	y.memory = make([]byte, 3*maxTransfer/2)
	for i := range y.memory {
		y.memory[i] = byte(i * 7)
	}
	c, reports, _ := pair(t, y)
	if r := <-reports; r.Tid != 7 || r.Stop.Reason != StopStart || r.Regs.Rip != 7<<12 {
		t.Errorf("report %+v", r)
	}
	want := y.Hello()
	want.Version = Version
	check(t, "Hello", c.Hello(), want, nil)
	threads, err := c.Threads()
	check(t, "Threads", threads, y.Threads(), err)
	regs, err := c.Regs(8)
	check(t, "Regs", regs, y.registers(8), err)
	regs.Gs, regs.R15, regs.OrigRax = 1, 2, ^uint64(0)
	check(t, "SetRegs", 0, 0, c.SetRegs(8, &regs))
	check(t, "registers set", y.registers(8), regs, nil)
	area, err := c.Xsave(7)
	check(t, "Xsave", area, []byte{7, 2, 3}, err)
	check(t, "SetXsave", 0, 0, c.SetXsave(7, area))
	info, err := c.Siginfo(7)
	check(t, "Siginfo", info, Siginfo{7}, err)
	vmas, err := c.VMAs()
	check(t, "VMAs", vmas, y.VMAs(), err)
	auxv, err := c.Auxv()
	check(t, "Auxv", auxv, y.Auxv(), err)
	hidden, err := c.InsertBreakpoint(Breakpoint{Software, 0x5000, 1})
	check(t, "InsertBreakpoint", hidden, []byte{0x90}, err)
	check(t, "RemoveBreakpoint", 0, 0, c.RemoveBreakpoint(Breakpoint{Software, 0x5000, 1}))
	check(t, "PassSignals", 0, 0, c.PassSignals(5))
	y.mu.Lock()
	check(t, "signals passed", y.pass, uint64(5), nil)
	y.mu.Unlock()
	check(t, "ThreadEvents", 0, 0, c.ThreadEvents(false))

	// More memory than a frame holds, with a hole behind it.
	p := make([]byte, 3*maxTransfer/2+10)
	n, err := c.ReadMemory(memoryBase, p)
	if n != len(p)-10 || err != unix.EFAULT || p[n-1] != byte((n-1)*7%256) {
		t.Errorf("ReadMemory: %d of %d, %v", n, len(p), err)
	}
	n, err = c.WriteMemory(memoryBase, bytes.Repeat([]byte{9}, len(p)))
	y.mu.Lock()
	last := y.memory[n-1]
	y.mu.Unlock()
	if n != len(p)-10 || err != unix.EFAULT || last != 9 {
		t.Errorf("WriteMemory: %d of %d, %v", n, len(p), err)
	}

	check(t, "Resume", 0, 0, c.Resume([]Action{{Tid: 7, Kind: Step, Start: 1, End: 2, Signal: 3}}))
	check(t, "resumed", <-y.resumed, []Action{{Tid: 7, Kind: Step, Start: 1, End: 2, Signal: 3}}, nil)
	y.stopped(7, Stop{Reason: StopSyscallEntry, Syscall: 39})
	if r := <-reports; r.Stop.Syscall != 39 || r.Tid != 7 {
		t.Errorf("report %+v", r)
	}
	check(t, "Resume", 0, 0, c.Resume([]Action{{}}))
	check(t, "Interrupt", 0, 0, c.Interrupt())
	y.obey()
	if r := <-reports; r.Stop.Reason != StopInterrupt {
		t.Errorf("report %+v", r)
	}
	check(t, "Disconnect", 0, 0, c.Disconnect())
	check(t, "Detach", 0, 0, c.Detach(0))
	check(t, "Kill", 0, 0, c.Kill())
	if r := <-reports; r.Kind != EventExited || r.Status != 9 {
		t.Errorf("report %+v", r)
	}
}

func check(t *testing.T, what string, got, want any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
	}
}

// TestErrors keep their identity.
func TestErrors(t *testing.T) {
	c, _, _ := pair(t, newToy(1))
	for _, e := range []struct {
		what string
		err  error
		want error
	}{
		{"Regs of a running thread", second(c.Regs(1)), ErrRunning},
		{"Regs of no thread", second(c.Regs(2)), ErrNoThread},
		{"SetSiginfo", c.SetSiginfo(1, &Siginfo{}), ErrUnsupported},
		{"CatchSyscalls", c.CatchSyscalls(true, nil), ErrUnsupported},
		{"Resume while running", c.Resume([]Action{{}}), ErrRunning},
		{"SetXsave", c.SetXsave(1, nil), unix.EINVAL},
		{"RemoveBreakpoint", c.RemoveBreakpoint(Breakpoint{}), unix.ENOENT},
		{"an unknown request", c.call(200, &empty{}, nil), ErrUnsupported},
	} {
		if e.err != e.want {
			t.Errorf("%s: %v, want %v", e.what, e.err, e.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestSupervisorVanishes: the payload goes on.
func TestSupervisorVanishes(t *testing.T) {
	y := newToy(1)
	y.threads[1].parked, y.threads[1].stop = true, Stop{Reason: StopStart}
	c, reports, served := pair(t, y)
	<-reports
	c.InsertBreakpoint(Breakpoint{Software, 1, 1})
	c.Close()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	got := <-y.resumed
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(got) != 1 || len(y.breaks) != 0 {
		t.Errorf("resumed %+v with %d breakpoints", got, len(y.breaks))
	}
	if y.sink != nil {
		t.Error("events still have a sink")
	}
}

// TestMonitorVanishes: who waits for a reply learns it, and so does who asks later.
func TestMonitorVanishes(t *testing.T) {
	a, b := net.Pipe()
	go func() {
		a.Write(frame(0, kindHello, &Hello{Version: Version}))
		readFrame(a)
		a.Write([]byte{1, 2, 3})
		a.Close()
	}()
	gone := make(chan bool)
	c, err := NewClient(b, func(Report) {}, func() { close(gone) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != ErrClosed {
		t.Errorf("Kill: %v", err)
	}
	<-gone
	if _, err := c.Threads(); err != ErrClosed {
		t.Errorf("Threads: %v", err)
	}
}

func TestHelloOfAnotherVersion(t *testing.T) {
	for _, first := range [][]byte{frame(0, kindHello, &Hello{Version: Version + 1}), frame(0, kindReply, &empty{}), {5, 0, 0, 0, 0}} {
		if c, err := NewClient(&half{Reader: bytes.NewReader(first)}, nil, nil); err == nil || c != nil {
			t.Errorf("hello %x was accepted", first)
		}
	}
	if _, err := NewClient(&half{Reader: bytes.NewReader(nil)}, nil, nil); err != ErrClosed {
		t.Errorf("no hello: %v", err)
	}
}

type half struct {
	io.Reader
	bytes.Buffer
}

func (h *half) Read(p []byte) (int, error) { return h.Reader.Read(p) }
func (h *half) Close() error               { return nil }

// TestTakeFD takes the descriptor once and leaves no trace.
func TestTakeFD(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for value, want := range map[string]bool{strconv.Itoa(int(r.Fd())): true, "": false, "x": false, "-1": false, "99999": false} {
		t.Setenv(EnvFD, value)
		if fd, ok := TakeFD(); ok != want || ok && fd != int(r.Fd()) {
			t.Errorf("%s=%s: %d, %v", EnvFD, value, fd, ok)
		}
		if _, set := os.LookupEnv(EnvFD); set {
			t.Errorf("%s is still set", EnvFD)
		}
	}
}

// bodies are all messages, for the fuzzer.
var bodies = []func() message{
	func() message { return &empty{} }, func() message { return &tidBody{} }, func() message { return &setBody{} },
	func() message { return &boolBody{} }, func() message { return &bytesBody{} }, func() message { return &threadsBody{} },
	func() message { return &actionsBody{} }, func() message { return &vmasBody{} }, func() message { return &bpBody{} },
	func() message { return &catchBody{} }, func() message { return &regsBody{} }, func() message { return &xsaveBody{} },
	func() message { return &siginfoBody{} }, func() message { return &memoryBody{} }, func() message { return &memoryReply{} },
	func() message { return &Hello{} }, func() message { return &Report{} }, func() message { return &failure{} },
	func() message { return &replyBody{reply: &threadsBody{}} },
}

// FuzzDecode: whatever decodes encodes to the same bytes, and nothing else happens.
func FuzzDecode(f *testing.F) {
	h := newToy().Hello()
	for i, m := range []message{&h, &Report{}, &threadsBody{[]Thread{{Tid: 1}}}, &failure{1, 2, "x"}} {
		f.Add(uint8(i), encode(nil, m))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		for i := range bodies {
			m := bodies[(int(which)+i)%len(bodies)]()
			if decode(body, m) != nil {
				continue
			}
			if again := encode(nil, m); !bytes.Equal(again, body) {
				t.Errorf("%T: %x became %x", m, body, again)
			}
		}
	})
}

// FuzzServe: no bytes from a supervisor harm the monitor.
func FuzzServe(f *testing.F) {
	f.Add(frame(1, kindThreads, &empty{}))
	f.Add(append(frame(1, kindInterrupt, &boolBody{}), frame(2, kindResume, &actionsBody{[]Action{{}}})...))
	f.Add(frame(3, kindRead, &memoryBody{addr: 5, n: 1 << 31}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		y := newToy(1, 2)
		y.resumed = make(chan []Action, len(stream)+2)
		rw := &half{Reader: bytes.NewReader(stream)}
		err := Serve(rw, y)
		if err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Serve: %v", err)
		}
	})
}
