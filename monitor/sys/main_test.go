package sys

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
)

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if err := hostcall.Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	if os.Getenv(siblingVar) != "" {
		sibling()
		return
	}
	os.Exit(m.Run())
}

type gva = faketask.GVA

const page = 4096

var handlers = func() map[int]hypercall.Handler {
	m := map[int]hypercall.Handler{}
	Register(func(nr int, h Handler) { m[nr] = h })
	return m
}()

// newTask returns a payload thread. All of a test binary share one procMount, as
// a monitor has one process; its executable is a copy of /bin/true.
func newTask(tb testing.TB) *faketask.Task {
	tb.Helper()
	p := faketask.NewProcess()
	k := faketask.New(tb, p)
	k.Handlers = handlers
	p.ExePath = exeFile(tb)
	fd, err := unix.Open(p.ExePath, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	p.ExeFile = k.OwnedFD(fd)
	return k
}

func exeFile(tb testing.TB) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "program")
	if err := os.WriteFile(name, []byte("\x7fELF, more or less"), 0o755); err != nil {
		tb.Fatal(err)
	}
	return name
}

// want checks a result.
func want(t *testing.T, what string, got, want uint64) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %d (%v), want %d (%v)", what, int64(got), hypercall.Errno(got), int64(want), hypercall.Errno(want))
	}
}

// wantErr checks that a call failed.
func wantErr(t *testing.T, what string, got uint64, e unix.Errno) {
	t.Helper()
	want(t, what, got, hypercall.Err(e))
}

// same makes a call and the native one and compares the results.
func same(t *testing.T, k *faketask.Task, nr int, args ...any) uint64 {
	t.Helper()
	got := k.Do(nr, args...)
	want(t, fmt.Sprintf("%s%v", hypercall.Lookup(nr).Name, args), got, k.Native(nr, args...))
	return got
}

func tempFile(tb testing.TB, text string) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
	return name
}

// readFD reads a descriptor from where it stands.
func readFD(tb testing.TB, fd int) string {
	tb.Helper()
	b, err := readAll(fd)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// secret returns a memfd of the monitor's that the payload must not reach.
func secret(tb testing.TB, k *faketask.Task) int {
	tb.Helper()
	fd, err := unix.MemfdCreate("secret", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte("secret")); err != nil {
		tb.Fatal(err)
	}
	return k.OwnedFD(fd)
}
