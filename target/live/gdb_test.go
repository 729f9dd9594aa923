package live_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kmdev/gdbserver"
	"kmdev/monitor/debug"
	"kmdev/target/live"
)

// debugged is a program under the whole stack: a back end, the channel, this package and the server.
type debugged struct {
	proc *live.Process
	port int
	done chan error
}

// backEnds are what runs the program: ptrace, to tell faults of the layers above the monitor from the monitor's, and a VM.
var backEnds = map[string]backEnd{
	"ptrace": startTraced,
	"vm":     startVM,
}

// onEach runs a test for each back end.
func onEach(t *testing.T, test func(t *testing.T, b backEnd)) {
	for name, start := range backEnds {
		t.Run(name, func(t *testing.T) { test(t, start) })
	}
}

type backEnd func(t *testing.T, stdin, stdout *os.File, program string, args []string) *live.Process

func startTraced(t *testing.T, stdin, stdout *os.File, program string, args []string) *live.Process {
	inf := trace(t, stdin, stdout, program, args...)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer unix.Close(fds[0])
		debug.Serve(debug.FD(fds[0]), inf)
	}()
	go func() {
		<-inf.ended
		unix.Shutdown(fds[0], unix.SHUT_RDWR) // as a monitor's end would
	}()
	unix.SetNonblock(fds[1], true)
	proc, err := live.Open(os.NewFile(uintptr(fds[1]), "channel"))
	if err != nil {
		t.Fatal(err)
	}
	return proc
}

func startVM(t *testing.T, stdin, stdout *os.File, program string, args []string) *live.Process {
	cmd := exec.Command(kmdev(t), append([]string{"run", "--debug-wait", "--", program}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, os.Stderr
	proc, err := live.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.Kill() })
	return proc
}

// kmdev is the binary: $KMDEV_BIN, or built once for all tests.
func kmdev(t *testing.T) string {
	t.Helper()
	path, err := buildKmdev()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildKmdev = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("KMDEV_BIN"); path != "" {
		return filepath.Abs(path)
	}
	dir, err := os.MkdirTemp("", "kmdev")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kmdev")
	cmd := exec.Command("go", "build", "-o", path, "kmdev/cmd/kmdev")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// TestMain removes what buildKmdev made. Payloads must not inherit that SIGHUP is ignored, as by nohup: a signal that is caught is
// at its default in a program executed.
func TestMain(m *testing.M) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	code := m.Run()
	if path, err := buildKmdev(); err == nil && os.Getenv("KMDEV_BIN") == "" {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// serve puts a program behind a gdbserver.
func (b backEnd) serve(t *testing.T, program string, args ...string) *debugged {
	t.Helper()
	return b.serveFiles(t, nil, os.Stdout, program, args...)
}

func (b backEnd) serveFiles(t *testing.T, stdin, stdout *os.File, program string, args ...string) *debugged {
	t.Helper()
	proc := b(t, stdin, stdout, program, args)
	l, err := gdbserver.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &debugged{proc: proc, port: l.Addr().(*net.TCPAddr).Port, done: make(chan error, 1)}
	opts := gdbserver.Options{}
	if os.Getenv("KMDEV_TRACE_RSP") != "" {
		opts.Trace = os.Stderr
	}
	ctx := limited(t)
	go func() { d.done <- gdbserver.Serve(ctx, l, proc, opts) }()
	return d
}

// limited ends before the test binary's time does: a test that hangs fails then, and ends what it has started.
func limited(t *testing.T) context.Context {
	t.Helper()
	end, ok := t.Deadline()
	if !ok {
		return t.Context()
	}
	ctx, cancel := context.WithDeadline(t.Context(), end.Add(-time.Until(end)/10))
	t.Cleanup(cancel)
	return ctx
}

// gdbCommand is gdb in batch mode, connected, running commands.
func (d *debugged) gdbCommand(t *testing.T, program string, commands ...string) *exec.Cmd {
	args := []string{"-q", "-batch", "-nx", "-ex", "set pagination off", "-ex", "set debuginfod enabled off", "-ex", "set width 0",
		"-ex", fmt.Sprintf("target remote 127.0.0.1:%d", d.port)}
	for _, c := range commands {
		args = append(args, "-ex", c)
	}
	return exec.CommandContext(limited(t), "gdb", append(args, program)...)
}

// gdb runs it and gives what it prints.
func (d *debugged) gdb(t *testing.T, program string, commands ...string) string {
	t.Helper()
	out, err := d.gdbCommand(t, program, commands...).CombinedOutput()
	if err != nil {
		t.Errorf("gdb: %v", err)
	}
	t.Logf("%s", out)
	return string(out)
}

// build compiles a program of testdata with gcc.
func build(t *testing.T, source string, flags ...string) string {
	t.Helper()
	return buildWith(t, "gcc", source, flags...)
}

func buildWith(t *testing.T, compiler, source string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(source, filepath.Ext(source)))
	args := append([]string{"-g", "-O0", "-o", out, filepath.Join("testdata", source)}, flags...)
	if text, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", compiler, err, text)
	}
	return out
}

// expect wants each of the texts in the output, in that order.
func expect(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, text := range texts {
		i := strings.Index(rest, text)
		if i < 0 {
			t.Errorf("gdb's output lacks %q (in this place)", text)
			return
		}
		rest = rest[i+len(text):]
	}
}

func listen(port int) (net.Listener, error) {
	return gdbserver.Listen(fmt.Sprintf("127.0.0.1:%d", port))
}
