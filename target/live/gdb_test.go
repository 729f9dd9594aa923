package live_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/gdbserver"
	"kmdev/monitor/debug"
	"kmdev/target/live"
)

// debugged is a program under the whole stack: a traced process, the channel, the back end and the server.
type debugged struct {
	inf  *traced
	proc *live.Process
	port int
	done chan error
}

// serve puts a program behind a gdbserver.
func serve(t *testing.T, program string, args ...string) *debugged {
	t.Helper()
	return serveOut(t, os.Stdout, program, args...)
}

func serveOut(t *testing.T, stdout *os.File, program string, args ...string) *debugged {
	t.Helper()
	inf := trace(t, stdout, program, args...)
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
	l, err := gdbserver.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &debugged{inf: inf, proc: proc, port: l.Addr().(*net.TCPAddr).Port, done: make(chan error, 1)}
	opts := gdbserver.Options{}
	if os.Getenv("KMDEV_TRACE_RSP") != "" {
		opts.Trace = os.Stderr
	}
	go func() { d.done <- gdbserver.Serve(context.Background(), l, proc, opts) }()
	return d
}

// gdbCommand is gdb in batch mode, connected, running commands.
func (d *debugged) gdbCommand(t *testing.T, program string, commands ...string) *exec.Cmd {
	args := []string{"-q", "-batch", "-nx", "-ex", "set pagination off", "-ex", "set debuginfod enabled off", "-ex", "set width 0",
		"-ex", fmt.Sprintf("target remote 127.0.0.1:%d", d.port)}
	for _, c := range commands {
		args = append(args, "-ex", c)
	}
	return exec.CommandContext(t.Context(), "gdb", append(args, program)...)
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

// build compiles a program of testdata.
func build(t *testing.T, source string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(source, filepath.Ext(source)))
	args := append([]string{"-g", "-O0", "-o", out, filepath.Join("testdata", source)}, flags...)
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, text)
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
