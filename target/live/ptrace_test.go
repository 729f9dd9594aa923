package live_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/debug"
)

// traced is a debug.Inferior over a native process under ptrace: the same interface as the monitor's, so that the channel,
// the back end and the server can be tested with real programs and without a VM. Its window is 0.
//
// One goroutine, locked to its thread, is the tracer; every ptrace request runs there. Events go to the sink from another
// one, because the sink's callee may wait for a request.
type traced struct {
	pid      int
	process  *os.Process
	mem      *os.File
	requests chan func()
	statuses chan waited
	events   eventQueue
	over     chan struct{} // the process is gone, and so is the tracer
	ended    chan struct{} // … and its last event was delivered

	// Of the tracer.
	threads map[int]*tracee
	order   []int
	early   map[int]unix.WaitStatus // stops of threads whose clone event has not come yet
	breaks  map[uint64]byte
	pass    uint64
	sink    func(debug.Event)
	gate    bool // Stop(AllThreads) is in force
}

type waited struct {
	tid    int
	status unix.WaitStatus
}

type tracee struct {
	tid      int
	parked   bool
	stop     debug.Stop
	action   debug.Action
	wanted   bool // to park
	trapping bool // a PTRACE_INTERRUPT has not shown yet
}

// eventQueue hands events to the sink in order.
type eventQueue struct {
	mu   sync.Mutex
	cond sync.Cond
	q    []func()
}

func (e *eventQueue) put(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.q = append(e.q, f)
	e.cond.Signal()
}

func (e *eventQueue) run() {
	for {
		e.mu.Lock()
		for len(e.q) == 0 {
			e.cond.Wait()
		}
		f := e.q[0]
		e.q = e.q[1:]
		e.mu.Unlock()
		if f == nil {
			return
		}
		f()
	}
}

const traceOptions = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD

// eventStop is PTRACE_EVENT_STOP, which x/sys has not got.
const eventStop = 128

// trace starts a program, stopped before its first instruction.
func trace(t *testing.T, stdin, stdout *os.File, program string, args ...string) *traced {
	t.Helper()
	inf := &traced{requests: make(chan func()), statuses: make(chan waited), over: make(chan struct{}), ended: make(chan struct{}),
		threads: map[int]*tracee{}, early: map[int]unix.WaitStatus{}, breaks: map[uint64]byte{}, pass: ^uint64(0)}
	inf.events.cond.L = &inf.events.mu
	started := make(chan error)
	go inf.tracer(stdin, stdout, program, args, started)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	go func() {
		inf.events.run()
		close(inf.ended)
	}()
	t.Cleanup(func() {
		inf.process.Kill()
		<-inf.over
		inf.mem.Close()
	})
	return inf
}

// launch starts the program in a process group of its own and brings it to its exec.
func (inf *traced) launch(stdin, stdout *os.File, program string, args []string) error {
	cmd := exec.Command("/bin/sh", append([]string{"-c", `kill -STOP $$; exec "$0" "$@"`, program}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	inf.pid, inf.process = cmd.Process.Pid, cmd.Process
	var ws unix.WaitStatus
	if _, err := unix.Wait4(inf.pid, &ws, unix.WUNTRACED, nil); err != nil {
		return err
	}
	if err := seize(inf.pid, traceOptions); err != nil {
		return err
	}
	if err := unix.Kill(inf.pid, unix.SIGCONT); err != nil {
		return err
	}
	for {
		if _, err := unix.Wait4(inf.pid, &ws, unix.WALL, nil); err != nil {
			return err
		}
		if !ws.Stopped() {
			return fmt.Errorf("%s: ended before its exec: %#x", program, ws)
		}
		if int(ws)>>16 == unix.PTRACE_EVENT_EXEC {
			return nil
		}
		sig := 0
		if int(ws)>>16 == 0 && ws.StopSignal() != unix.SIGTRAP {
			sig = int(ws.StopSignal())
		}
		if err := unix.PtraceCont(inf.pid, sig); err != nil {
			return err
		}
	}
}

func (inf *traced) tracer(stdin, stdout *os.File, program string, args []string, started chan<- error) {
	runtime.LockOSThread()
	err := inf.launch(stdin, stdout, program, args)
	if err == nil {
		inf.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", inf.pid), os.O_RDWR, 0)
	}
	if err != nil {
		if inf.process != nil {
			inf.process.Kill()
		}
		started <- err
		return
	}
	inf.add(inf.pid)
	leader := inf.threads[inf.pid]
	leader.parked, leader.stop = true, debug.Stop{Reason: debug.StopStart}
	started <- nil
	go inf.wait()
	defer close(inf.over)
	for {
		select {
		case f := <-inf.requests:
			f()
		case w, ok := <-inf.statuses:
			if !ok {
				inf.events.put(nil)
				return
			}
			inf.waited(w)
		}
	}
}

// wait collects what happens to the process group; os/exec's other children are none of ours.
func (inf *traced) wait() {
	defer close(inf.statuses)
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-inf.pid, &ws, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		inf.statuses <- waited{tid, ws}
	}
}

func (inf *traced) add(tid int) {
	inf.threads[tid] = &tracee{tid: tid, wanted: inf.gate}
	inf.order = append(inf.order, tid)
}

func (inf *traced) emit(e debug.Event) {
	if sink := inf.sink; sink != nil {
		inf.events.put(func() { sink(e) })
	}
}

// waited sorts one status.
func (inf *traced) waited(w waited) {
	t := inf.threads[w.tid]
	switch {
	case w.status.Exited() || w.status.Signaled():
		inf.gone(w)
	case t == nil:
		inf.early[w.tid] = w.status
	case w.status.TrapCause() > 0 && w.status.TrapCause() == unix.PTRACE_EVENT_CLONE:
		tid, _ := unix.PtraceGetEventMsg(w.tid)
		inf.add(int(tid))
		inf.emit(debug.Event{Kind: debug.EventCreated, Tid: int(tid)})
		inf.proceed(t, 0)
		if ws, ok := inf.early[int(tid)]; ok {
			delete(inf.early, int(tid))
			inf.waited(waited{int(tid), ws})
		}
	case int(w.status)>>16 == eventStop:
		t.trapping = false
		if t.wanted {
			inf.park(t, debug.Stop{Reason: debug.StopRequested})
		} else {
			inf.proceed(t, 0)
		}
	case int(w.status)>>16 != 0:
		inf.proceed(t, 0)
	default:
		inf.signalled(t, w.status.StopSignal())
	}
}

func (inf *traced) gone(w waited) {
	delete(inf.threads, w.tid)
	inf.order = slices.DeleteFunc(inf.order, func(tid int) bool { return tid == w.tid })
	kind := debug.EventThreadExited
	if w.tid == inf.pid {
		kind = debug.EventExited
	}
	inf.emit(debug.Event{Kind: kind, Tid: w.tid, Status: uint32(w.status)})
}

// signalled: a signal-delivery-stop.
func (inf *traced) signalled(t *tracee, sig unix.Signal) {
	info := getSiginfo(t.tid)
	code := int32(info[8]) | int32(info[9])<<8 | int32(info[10])<<16 | int32(info[11])<<24
	const siKernel, trapTrace = 0x80, 2
	if sig == unix.SIGTRAP && code == siKernel && inf.trapped(t) {
		return
	}
	if sig == unix.SIGTRAP && code == trapTrace && t.action.Kind == debug.Step {
		var r unix.PtraceRegs
		unix.PtraceGetRegs(t.tid, &r)
		if !t.wanted && r.Rip >= t.action.Start && r.Rip < t.action.End {
			inf.proceed(t, 0)
			return
		}
		inf.park(t, debug.Stop{Reason: debug.StopStep})
		return
	}
	if inf.pass>>(sig-1)&1 != 0 {
		inf.proceed(t, int(sig))
		return
	}
	inf.park(t, debug.Stop{Reason: debug.StopSignal, Siginfo: info})
}

// trapped sorts an INT3 that was executed: false if it is the program's own.
func (inf *traced) trapped(t *tracee) bool {
	var r unix.PtraceRegs
	unix.PtraceGetRegs(t.tid, &r)
	r.Rip--
	_, ours := inf.breaks[r.Rip]
	var there [1]byte
	inf.mem.ReadAt(there[:], int64(r.Rip))
	if !ours && there[0] == 0xcc {
		return false
	}
	unix.PtraceSetRegs(t.tid, &r)
	if ours {
		inf.park(t, debug.Stop{Reason: debug.StopBreakpoint, Addr: r.Rip})
	} else {
		inf.proceed(t, 0) // removed while the trap was under way: execute what is there now
	}
	return true
}

func (inf *traced) park(t *tracee, stop debug.Stop) {
	t.parked, t.wanted, t.stop = true, false, stop
	inf.emit(debug.Event{Kind: debug.EventStopped, Tid: t.tid, Stop: stop})
}

func (inf *traced) proceed(t *tracee, sig int) {
	if t.action.Kind == debug.Step {
		step(t.tid, sig)
		return
	}
	unix.PtraceCont(t.tid, sig)
}

// do runs f in the tracer, or not when that has ended.
func (inf *traced) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case inf.requests <- func() { done <- f() }:
		return <-done
	case <-inf.over:
		return debug.ErrNoThread
	}
}

// on runs f for a parked thread.
func (inf *traced) on(tid int, f func(t *tracee) error) error {
	return inf.do(func() error {
		t := inf.threads[tid]
		if t == nil {
			return debug.ErrNoThread
		}
		if !t.parked {
			return debug.ErrRunning
		}
		return f(t)
	})
}

func (inf *traced) Hello() debug.Hello {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", inf.pid))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", inf.pid))
	h := debug.Hello{Pid: inf.pid, Exe: exe, Size: 1 << 47, Waits: true, Args: strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")}
	h.XCR0 = cpu.XCR0()
	x := cpu.NewXState(h.XCR0)
	h.Xsave.Size = x.Size
	for _, c := range x.Components {
		h.Xsave.Components = append(h.Xsave.Components, debug.XsaveComponent{Bit: c.Bit, Offset: c.Offset, Size: c.Size})
	}
	return h
}

func (inf *traced) Attach(sink func(debug.Event)) (list []debug.Thread) {
	inf.do(func() error {
		inf.sink = sink
		list = inf.list()
		return nil
	})
	return list
}

func (inf *traced) list() (list []debug.Thread) {
	for _, tid := range inf.order {
		t := inf.threads[tid]
		list = append(list, debug.Thread{Tid: tid, Parked: t.parked, Stop: t.stop})
	}
	return list
}

func (inf *traced) Threads() (list []debug.Thread) {
	inf.do(func() error {
		list = inf.list()
		return nil
	})
	return list
}

func (inf *traced) Stop(tid int) error {
	return inf.do(func() error {
		inf.gate = inf.gate || tid == debug.AllThreads
		for _, t := range inf.threads {
			if t.parked || tid != debug.AllThreads && tid != t.tid {
				continue
			}
			t.wanted = true
			if !t.trapping {
				t.trapping = interrupt(t.tid) == nil
			}
		}
		return nil
	})
}

func (inf *traced) Resume(actions []debug.Action) error {
	return inf.do(func() error {
		for _, a := range actions {
			t := inf.threads[a.Tid]
			if t == nil {
				return debug.ErrNoThread
			}
			if !t.parked {
				return debug.ErrRunning
			}
		}
		inf.gate = false
		for _, a := range actions {
			t := inf.threads[a.Tid]
			t.parked, t.action = false, a
			inf.proceed(t, a.Signal)
		}
		return nil
	})
}

func (inf *traced) Regs(tid int) (r debug.Regs, err error) {
	err = inf.on(tid, func(*tracee) error {
		return unix.PtraceGetRegs(tid, userRegs(&r))
	})
	return r, err
}

func (inf *traced) SetRegs(tid int, r *debug.Regs) error {
	return inf.on(tid, func(*tracee) error { return unix.PtraceSetRegs(tid, userRegs(r)) })
}

func (inf *traced) Xsave(tid int) (area []byte, err error) {
	err = inf.on(tid, func(*tracee) error {
		area, err = getXsave(tid)
		return err
	})
	return area, err
}

func (inf *traced) SetXsave(tid int, area []byte) error {
	return inf.on(tid, func(*tracee) error { return setXsave(tid, area) })
}

func (inf *traced) Siginfo(tid int) (info debug.Siginfo, err error) {
	err = inf.on(tid, func(*tracee) error {
		info = getSiginfo(tid)
		return nil
	})
	return info, err
}

func (inf *traced) SetSiginfo(tid int, info *debug.Siginfo) error {
	return inf.on(tid, func(*tracee) error { return setSiginfo(tid, info) })
}

func (inf *traced) ReadMemory(addr uint64, p []byte) (n int, err error) {
	n, err = inf.mem.ReadAt(p, int64(addr))
	if err != nil {
		err = unix.EFAULT
	}
	inf.do(func() error {
		for at, b := range inf.breaks {
			if at >= addr && at-addr < uint64(n) {
				p[at-addr] = b
			}
		}
		return nil
	})
	return n, err
}

func (inf *traced) WriteMemory(addr uint64, p []byte) (n int, err error) {
	q := bytes.Clone(p)
	inf.do(func() error {
		for at := range inf.breaks {
			if at >= addr && at-addr < uint64(len(q)) {
				inf.breaks[at] = q[at-addr]
				q[at-addr] = 0xcc
			}
		}
		return nil
	})
	if n, err = unix.Pwrite(int(inf.mem.Fd()), q, int64(addr)); err != nil || n < len(q) {
		n = max(n, 0)
		err = unix.EFAULT
	}
	return n, err
}

func (inf *traced) VMAs() (out []debug.VMA) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", inf.pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var v debug.VMA
		var perms string
		fmt.Sscanf(s.Text(), "%x-%x %s %x %x:%x %d %s", &v.Start, &v.End, &perms, &v.Offset, &v.Major, &v.Minor, &v.Inode, &v.Name)
		for i, c := range "rwx" {
			if rune(perms[i]) == c {
				v.Prot |= 1 << i
			}
		}
		v.Shared = perms[3] == 's'
		out = append(out, v)
	}
	return out
}

func (inf *traced) Auxv() []byte {
	auxv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", inf.pid))
	return auxv
}

func (inf *traced) InsertBreakpoint(b debug.Breakpoint) (hidden []byte, err error) {
	if b.Kind != debug.Software {
		return nil, debug.ErrUnsupported
	}
	hidden = make([]byte, 1)
	err = inf.do(func() error {
		if _, ok := inf.breaks[b.Addr]; ok {
			return unix.EEXIST
		}
		if _, err := inf.mem.ReadAt(hidden, int64(b.Addr)); err != nil {
			return unix.EFAULT
		}
		if _, err := inf.mem.WriteAt([]byte{0xcc}, int64(b.Addr)); err != nil {
			return unix.EFAULT
		}
		inf.breaks[b.Addr] = hidden[0]
		return nil
	})
	return hidden, err
}

func (inf *traced) RemoveBreakpoint(b debug.Breakpoint) error {
	return inf.do(func() error {
		hidden, ok := inf.breaks[b.Addr]
		if !ok || b.Kind != debug.Software {
			return unix.ENOENT
		}
		delete(inf.breaks, b.Addr)
		_, err := inf.mem.WriteAt([]byte{hidden}, int64(b.Addr))
		return err
	})
}

func (inf *traced) PassSignals(set uint64) error {
	return inf.do(func() error {
		inf.pass = set
		return nil
	})
}

func (inf *traced) CatchSyscalls(all bool, nrs []int) error {
	if !all && len(nrs) == 0 {
		return debug.ErrUnsupported
	}
	return errors.ErrUnsupported
}

func (inf *traced) Kill() error { return inf.process.Kill() }

var _ debug.Inferior = (*traced)(nil)
