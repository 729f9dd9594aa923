package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kmdev/fixtures"
)

// soak is how often a program runs in a row: all of it under make test-full.
func soak(whole, sample int) int {
	if full {
		return whole
	}
	return sample
}

// TestSoakHello runs hello again and again: no failure, and nothing left behind.
func TestSoakHello(t *testing.T) {
	soakRun(t, command{argv: []string{fixtures.Build(t, "hello", fixtures.GlibcStatic)}}, soak(1000, 50))
}

// TestSoakThreads runs a program of 200 threads again and again.
func TestSoakThreads(t *testing.T) {
	soakRun(t, command{argv: []string{fixtures.Build(t, "threads", fixtures.GlibcDynamic), "200"}}, soak(100, 4))
}

// TestSoakDebugger lets gdb run the program to its end again and again.
func TestSoakDebugger(t *testing.T) {
	before := takeStock(t)
	for range soak(50, 3) {
		d := startDebuggee(t, fixtures.Build(t, "hello", fixtures.GlibcStatic), onG0)
		d.session("break main", "continue", "continue").wantNth("continue", 2, `exited normally`)
		d.ends("exit 0")
	}
	before.compare(t, takeStock(t))
}

func soakRun(t *testing.T, c command, times int) {
	native := c.native(t)
	before := takeStock(t)
	for i := range times {
		if got := c.underKmdev(t); got != native {
			t.Fatalf("run %d of %d: %+v, natively %+v", i+1, times, got, native)
		}
	}
	before.compare(t, takeStock(t))
}

// stock is what a run of kmdev could leave behind on the machine.
type stock struct {
	processes map[string]bool // pid and command line of what runs the binary under test
	files     map[string]bool // in the places for temporary files
	shm       int             // SysV shared memory segments
	fds       int             // of this process
}

func takeStock(t *testing.T) stock {
	t.Helper()
	s := stock{processes: map[string]bool{}, files: map[string]bool{}}
	self, err := os.Stat(kmdev)
	if err != nil {
		t.Fatal(err)
	}
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		if info, err := os.Stat(exe); err == nil && os.SameFile(info, self) {
			s.processes[filepath.Base(filepath.Dir(exe))] = true
		}
	}
	for _, dir := range []string{os.TempDir(), "/dev/shm", "/run", "/var/run"} {
		names, _ := filepath.Glob(filepath.Join(dir, "*kmdev*"))
		for _, n := range names {
			s.files[n] = true
		}
	}
	if list, err := os.ReadFile("/proc/sysvipc/shm"); err == nil {
		s.shm = strings.Count(string(list), "\n")
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	s.fds = len(entries)
	return s
}

func (s stock) compare(t *testing.T, after stock) {
	t.Helper()
	for pid := range after.processes {
		if !s.processes[pid] {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			t.Errorf("process %s left behind: %q", pid, line)
		}
	}
	for name := range after.files {
		if !s.files[name] && !strings.Contains(name, "kmdev-fixture") {
			t.Errorf("file left behind: %s", name)
		}
	}
	if after.shm > s.shm {
		t.Errorf("%d shared memory segments left behind", after.shm-s.shm)
	}
	if after.fds > s.fds+2 { // the test process's own poller and pipes
		t.Errorf("%d descriptors, %d before", after.fds, s.fds)
	}
}

// TestMonitorKilled: the supervisor ends as the payload does, whatever killed it.
func TestMonitorKilled(t *testing.T) {
	before := takeStock(t)
	d := startDebuggee(t, fixtures.Build(t, "dbg_loop", fixtures.GlibcStatic), onG0, "sleep")
	kill(t, d.inferior("break doze"))
	d.ends("signal 9")
	before.compare(t, takeStock(t))
}

// TestSupervisorKilled: a debugger that dies leaves the payload to run on, without its breakpoints.
func TestSupervisorKilled(t *testing.T) {
	before := takeStock(t)
	d := startDebuggee(t, fixtures.Build(t, "dbg_basic", fixtures.GlibcStatic), onG0)
	d.inferior("break with_locals")
	kill(t, d.cmd.Process.Pid)
	<-d.done // when the payload has closed its output, too
	if !strings.Contains(d.output(), "bye now") {
		t.Errorf("the payload did not run to its end:\n%s", d.output())
	}
	before.compare(t, takeStock(t))
}

// inferior runs to a breakpoint, disconnects and returns the payload's pid.
func (d *debuggee) inferior(breakpoint string) (pid int) {
	d.t.Helper()
	const ask = "python print('pid', gdb.selected_inferior().pid)"
	tr := d.session(breakpoint, "continue", ask, "disconnect")
	if _, err := fmt.Sscanf(strings.TrimSpace(tr.after(ask, 1)), "pid %d", &pid); err != nil {
		d.t.Fatalf("no pid: %v\n%s", err, tr.text)
	}
	return pid
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}
