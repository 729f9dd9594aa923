package live_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rounds is how often a test looks for a race.
func rounds() int {
	if os.Getenv("KMDEV_FULL") != "" {
		return 200
	}
	return 10
}

// TestSupervisorEndsWhatWaits: a signal ends a payload that waits for a debugger, from the moment that the hint says it does.
func TestSupervisorEndsWhatWaits(t *testing.T) {
	program := build(t, "ends.c", "-static")
	for range rounds() {
		for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1} {
			s := supervise(t, "", program, "wait")
			s.cmd.Process.Signal(sig)
			if got := s.end(); got != "signal 9" {
				t.Fatalf("%v while waiting for a debugger: %s", sig, got)
			}
		}
	}
}

// TestSupervisorSignalledWhileStarting: nor is a signal lost that comes when the monitor has just been started.
func TestSupervisorSignalledWhileStarting(t *testing.T) {
	program := build(t, "ends.c", "-static")
	for range rounds() {
		for flag, want := range map[string][]string{
			"":             {"signal 9"},
			"--gdb-listen": {"signal 15", "exit 15"}, // before the program blocks it and after
		} {
			s := launch(t, flag, program, "wait")
			childOf(t, s.cmd.Process.Pid)
			s.cmd.Process.Signal(unix.SIGTERM)
			if got := s.end(); !slices.Contains(want, got) {
				t.Fatalf("%s: SIGTERM at the start: %s, want one of %q", flag, got, want)
			}
		}
	}
}

// childOf waits until a process has started another one, and gives its pid (proc_pid_task(5), children).
func childOf(t *testing.T, pid int) (child int) {
	t.Helper()
	for t.Context().Err() == nil {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
			if os.IsNotExist(err) && task.Name() == fmt.Sprint(pid) {
				t.Fatal(err)
			}
			if n, _ := fmt.Sscan(string(text), &child); n == 1 {
				return child
			}
		}
		runtime.Gosched()
	}
	return 0
}

// rsp is a debugger that can be broken off at any point.
type rsp struct {
	net.Conn
	r *bufio.Reader
}

// debugger connects to the supervisor's server.
func (s *supervised) debugger(t *testing.T) rsp {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+s.port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return rsp{c, bufio.NewReader(c)}
}

// send sends packets, after one another.
func (d rsp) send(packets ...string) {
	for _, p := range packets {
		sum := byte(0)
		for _, b := range []byte(p) {
			sum += b
		}
		fmt.Fprintf(d, "+$%s#%02x", p, sum)
	}
}

// ask sends one and returns its reply.
func (d rsp) ask(t *testing.T, packet string) string {
	t.Helper()
	d.send(packet)
	if _, err := d.r.ReadBytes('$'); err != nil {
		t.Fatalf("%s: %v", packet, err)
	}
	reply, err := d.r.ReadString('#')
	if err != nil {
		t.Fatalf("%s: %v", packet, err)
	}
	io.CopyN(io.Discard, d.r, 2)
	d.Write([]byte("+"))
	return reply[:len(reply)-1]
}

// TestSignalAfterDebuggerDied: a debugger dies and a signal comes before the server has noticed. The payload, which stands
// or runs or is about to be stopped by that signal, can't be left standing with it.
func TestSignalAfterDebuggerDied(t *testing.T) {
	program := build(t, "spin.c", "-static")
	for name, c := range map[string]struct {
		debug func(d rsp)
		want  []string
	}{
		"connected":     {func(rsp) {}, []string{"signal 9"}},
		"stopped":       {func(d rsp) { d.ask(t, "?") }, []string{"signal 9"}},
		"half a packet": {func(d rsp) { io.WriteString(d, "+$vCont;") }, []string{"signal 9"}},
		"resuming":      {func(d rsp) { d.send("vCont;c") }, []string{"signal 9", "signal 15"}},
		"stepping":      {func(d rsp) { d.send("vCont;r0,ffffffffffff:-1") }, []string{"signal 9", "signal 15"}},
		"interrupting":  {func(d rsp) { d.send("vCont;c"); io.WriteString(d, "\x03") }, []string{"signal 9", "signal 15"}},
		"detaching":     {func(d rsp) { d.send("D") }, []string{"signal 9", "signal 15"}},
		"killing":       {func(d rsp) { d.send("k") }, []string{"signal 9", "signal 15"}},
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds() {
				s := supervise(t, "", program)
				d := s.debugger(t)
				c.debug(d)
				d.Close()
				s.cmd.Process.Signal(unix.SIGTERM)
				if got := s.end(); !slices.Contains(c.want, got) {
					t.Fatalf("%s, want one of %q", got, c.want)
				}
			}
		})
	}
}

// TestStalledDebugger: one that takes no data does not keep the supervisor when the payload has ended.
func TestStalledDebugger(t *testing.T) {
	program := build(t, "ends.c", "-static")
	s := supervise(t, "", program, "exit", "3")
	d := s.debugger(t)
	stop := d.ask(t, "?")
	for range 64 { // more than the two sockets hold
		d.send("qXfer:features:read:target.xml:0,fffff", "m400000,40000")
	}
	d.send("vCont;c")
	unix.Kill(childOf(t, s.cmd.Process.Pid), unix.SIGKILL)
	if got := s.end(); got != "signal 9" {
		t.Errorf("after %q and a kill: %s", stop, got)
	}
}

// TestResumeToTheEnd: that the payload has ended is the answer to what let it run, though the monitor could not answer
// any more, or though it was killed just before.
func TestResumeToTheEnd(t *testing.T) {
	program := build(t, "ends.c", "-static")
	for range rounds() {
		for _, packet := range []string{"c", "vCont;c:-1", "C0f", "vCont;C0f:-1"} {
			s := supervise(t, "", program, "exit", "7")
			want, end := "W07", "exit 7"
			if strings.Contains(packet, "0f") {
				want, end = "X0f", "signal 15"
			}
			d := s.debugger(t)
			if got := d.ask(t, packet); got != want {
				t.Fatalf("%s → %q, want %q", packet, got, want)
			}
			d.Close()
			if got := s.end(); got != end {
				t.Fatalf("%s ends the payload by %s, want %s", packet, got, end)
			}
			s = supervise(t, "", program, "exit", "7")
			d = s.debugger(t)
			d.ask(t, "?")
			unix.Kill(childOf(t, s.cmd.Process.Pid), unix.SIGKILL)
			if got := d.ask(t, packet); got != "X09" {
				t.Fatalf("%s after a kill → %q", packet, got)
			}
			d.Close()
			s.end()
		}
	}
}
