package live_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// supervised is kmdev run with a debugger's server, from outside.
type supervised struct {
	ctx      context.Context // ends before the test binary's time does
	cmd      *exec.Cmd
	port     string
	stdout   *bufio.Reader
	messages *bufio.Reader
}

// plainEnv is the environment of supervised payloads.
var plainEnv = []string{"PATH=/usr/bin:/bin", "A=b c"}

var hint = regexp.MustCompile(`target remote localhost:(\d+)`)

// supervise starts kmdev run -g0 or with other flags, and waits for the hint line.
func supervise(t *testing.T, flag, program string, args ...string) *supervised {
	t.Helper()
	s := launch(t, flag, program, args...)
	line, err := s.messages.ReadString('\n')
	m := hint.FindStringSubmatch(line)
	if m == nil || flag == "--gdb-listen" && !strings.HasPrefix(line, "Listening") {
		t.Fatalf("kmdev %q says %q, %v", s.cmd.Args, line, err)
	}
	s.port = m[1]
	return s
}

// launch only starts it. Whatever the test leaves of its process group is ended.
func launch(t *testing.T, flag, program string, args ...string) *supervised {
	t.Helper()
	ctx := limited(t)
	cmd := exec.CommandContext(ctx, kmdev(t), append([]string{"run", "-g0", flag, "--", program}, args...)...)
	if flag == "" {
		cmd.Args = append(cmd.Args[:3], cmd.Args[4:]...)
	}
	cmd.Env = plainEnv
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	out, stdout := pipe(t)
	messages, stderr := pipe(t)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	stdout.Close()
	stderr.Close()
	return &supervised{ctx: ctx, cmd: cmd, stdout: bufio.NewReader(out), messages: bufio.NewReader(messages)}
}

// end waits for it, and tells how it ended.
func (s *supervised) end() string {
	s.cmd.Wait()
	if s.ctx.Err() != nil {
		return "no end by itself"
	}
	ws := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return fmt.Sprintf("signal %d", ws.Signal())
	}
	return fmt.Sprintf("exit %d", ws.ExitStatus())
}

// gdb lets a debugger do things.
func (s *supervised) gdb(t *testing.T, commands ...string) string {
	t.Helper()
	args := []string{"-q", "-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "target remote localhost:" + s.port}
	for _, c := range commands {
		args = append(args, "-ex", c)
	}
	out, _ := exec.CommandContext(limited(t), "gdb", args...).CombinedOutput()
	t.Logf("%s", out)
	return string(out)
}

// TestSupervisorEndsAsThePayload: exit status, and death by signals that Go would take for its own.
func TestSupervisorEndsAsThePayload(t *testing.T) {
	program := build(t, "ends.c", "-static")
	for _, c := range [][3]string{{"exit", "0", "exit 0"}, {"exit", "7", "exit 7"}, {"signal", "11", "signal 11"}, {"signal", "15", "signal 15"}, {"signal", "6", "signal 6"}} {
		s := supervise(t, "", program, c[0], c[1])
		s.gdb(t, "detach")
		if got := s.end(); got != c[2] {
			t.Errorf("%s %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
	s := supervise(t, "", program, "exit", "5")
	expect(t, s.gdb(t, "continue"), "exited with code 05")
	if got := s.end(); got != "exit 5" {
		t.Errorf("under gdb: %s", got)
	}
	s = supervise(t, "", program, "signal", "11")
	expect(t, s.gdb(t, "continue", "continue"), "SIGSEGV", "terminated with signal SIGSEGV")
	if got := s.end(); got != "signal 11" {
		t.Errorf("under gdb: %s", got)
	}
}

// TestSupervisorPassesSignals: those sent to it reach a payload that runs.
func TestSupervisorPassesSignals(t *testing.T) {
	program := build(t, "ends.c", "-static")
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		s := supervise(t, "", program, "wait")
		s.gdb(t, "detach")
		if line, err := s.stdout.ReadString('\n'); line != "waiting\n" {
			t.Fatalf("the payload says %q, %v", line, err)
		}
		s.cmd.Process.Signal(sig)
		if got, want := s.end(), fmt.Sprintf("exit %d", int(sig)); got != want {
			t.Errorf("%v: %s, want %s", sig, got, want)
		}
	}
}

// TestSupervisorAndJobControl: Ctrl-C goes to the payload alone; Ctrl-Z stops both, and fg continues both.
func TestSupervisorAndJobControl(t *testing.T) {
	program := build(t, "ends.c", "-static")
	s := supervise(t, "--gdb-listen", program, "wait")
	if line, err := s.stdout.ReadString('\n'); line != "waiting\n" {
		t.Fatalf("the payload says %q, %v", line, err)
	}
	group := -s.cmd.Process.Pid
	unix.Kill(group, unix.SIGTSTP)
	var ws unix.WaitStatus
	if _, err := unix.Wait4(s.cmd.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("after Ctrl-Z: %#x, %v", ws, err)
	}
	unix.Kill(group, unix.SIGCONT)
	unix.Kill(group, unix.SIGINT)
	if got := s.end(); got != "exit 2" {
		t.Errorf("after fg and Ctrl-C: %s, want the payload's own exit 2", got)
	}
}

// TestListen: the payload runs until a debugger comes, and after it has gone.
func TestListen(t *testing.T) {
	program := build(t, "ends.c", "-static")
	s := supervise(t, "--gdb-listen", program, "wait")
	if line, err := s.stdout.ReadString('\n'); line != "waiting\n" {
		t.Fatalf("the payload says %q, %v", line, err)
	}
	for range 3 {
		expect(t, s.gdb(t, "file "+program, "backtrace", "detach"), "main", "detached")
	}
	expect(t, s.gdb(t, "file "+program, "backtrace"), "main", "detached") // gdb leaves it running when it quits
	expect(t, s.gdb(t, "file "+program, "tbreak exit", "signal SIGUSR1", "backtrace", "kill"), "exit", "killed")
	if got := s.end(); got != "signal 9" {
		t.Errorf("killed in gdb: %s", got)
	}
}

// TestDebuggerIsInvisible: the payload's environment and descriptors show nothing of the channel.
func TestDebuggerIsInvisible(t *testing.T) {
	const script = "echo /proc/self/fd/*; export -p"
	native := exec.Command("/bin/sh", "-c", script)
	native.Env = plainEnv
	want, err := native.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"", "--gdb-listen"} {
		s := supervise(t, flag, "/bin/sh", "-c", script)
		if flag == "" {
			s.gdb(t, "detach")
		}
		if text, err := io.ReadAll(s.stdout); string(text) != string(want) {
			t.Errorf("%s: the payload sees %q, a native one %q (%v)", flag, text, want, err)
		}
		s.end()
	}
}

// TestMonitorThatCannotStart says so and takes nothing along.
func TestMonitorThatCannotStart(t *testing.T) {
	cmd := exec.Command(kmdev(t), "run", "-g0", "--", "/nonexistent")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 127 || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("%v: %q", err, out)
	}
	if _, err := os.Stat("/nonexistent"); err == nil {
		t.Fatal("it exists")
	}
}
