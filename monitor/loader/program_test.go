package loader

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func mustOpen(t testing.TB, path string, opts Options) *Program {
	t.Helper()
	p, err := Open(path, []string{"x"}, []string{"A=1"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestProgram(t *testing.T) {
	path := executable(t, string(tinyELF().bytes()))
	long := writeFile(t, filepath.Join(t.TempDir(), "a-name-of-more-than-15"), tinyELF().bytes(), 0o755)
	for _, c := range []struct{ path, comm, interp string }{
		{path, "script", ""},
		{long, "a-name-of-more-", ""},
		{"/bin/true", "true", "/lib64/ld-linux-x86-64.so.2"},
	} {
		p := mustOpen(t, c.path, Options{})
		if p.Filename != c.path || p.Exe != c.path || p.Comm() != c.comm || p.Interp() != c.interp || p.SetID() {
			t.Errorf("%s: %+v, comm %q, interpreter %q, set-id %v", c.path, p, p.Comm(), p.Interp(), p.SetID())
		}
		var a, b unix.Stat_t
		if err := unix.Fstat(p.Fd(), &a); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(c.path, &b); err != nil || a.Ino != b.Ino || a.Dev != b.Dev {
			t.Errorf("%s: Fd is another file", c.path)
		}
	}
}

func TestSetID(t *testing.T) {
	path := executable(t, string(tinyELF().bytes()))
	for _, c := range []struct {
		mode uint32
		want bool
	}{{0o755, false}, {0o4755, true}, {0o2755, true}, {0o2745, false}} {
		if err := unix.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if got := mustOpen(t, path, Options{}).SetID(); got != c.want {
			t.Errorf("mode %o: %v, want %v", c.mode, got, c.want)
		}
	}
}

// TestOpenFile: every file, and nothing else, comes from the given function.
func TestOpenFile(t *testing.T) {
	var names []string
	open := func(dirfd int, path string, flags int) (int, error) {
		names = append(names, path)
		fd, err := unix.Openat(dirfd, path, flags, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 300)
	}
	path := executable(t, "#!/bin/true\n")
	p := mustOpen(t, path, Options{OpenFile: open})
	if want := []string{path, "/bin/true", "/lib64/ld-linux-x86-64.so.2"}; !slices.Equal(names, want) {
		t.Errorf("opened %q, want %q", names, want)
	}
	if p.Fd() < 300 || p.interp.fd < 300 {
		t.Errorf("descriptors %d and %d", p.Fd(), p.interp.fd)
	}
}

// TestHostPath: names are translated wherever they stand, and the program does not notice.
func TestHostPath(t *testing.T) {
	tiny := executable(t, string(tinyELF().bytes()))
	e := tinyELF()
	e.interp("/proc/self/exe\x00")
	dynamic := executable(t, string(e.bytes()))
	hostPath := func(path string) string {
		if path == "/proc/self/exe" {
			return "/lib64/ld-linux-x86-64.so.2"
		}
		return path
	}
	for _, path := range []string{"/proc/self/exe", executable(t, "#!/proc/self/exe\n"), dynamic, tiny} {
		p := mustOpen(t, path, Options{HostPath: hostPath})
		if p.Filename != path {
			t.Errorf("filename %q, want %q", p.Filename, path)
		}
		image := p.exec
		if path == dynamic {
			image = p.interp
		}
		if isLoader := image.typ == etDyn; isLoader != (path != tiny) {
			t.Errorf("%s: another file than meant", path)
		}
	}
}

// failing is a window whose n-th request fails.
type failing struct {
	*window
	left int
}

func (f *failing) fails() bool { f.left--; return f.left == -1 }

func (f *failing) MapFile(addr, length uint64, prot, fd int, off int64, fixed bool) (uint64, unix.Errno) {
	if f.fails() {
		return 0, unix.ENOMEM
	}
	return f.window.MapFile(addr, length, prot, fd, off, fixed)
}

func (f *failing) MapAnon(addr, length uint64, prot int, fixed bool) (uint64, unix.Errno) {
	if f.fails() {
		return 0, unix.ENOMEM
	}
	return f.window.MapAnon(addr, length, prot, fixed)
}

func (f *failing) ChoosePIEBase(size, align uint64) uint64 {
	if f.fails() {
		return 0
	}
	return f.window.ChoosePIEBase(size, align)
}

func (f *failing) ChooseInterp(size, align uint64) uint64 {
	if f.fails() {
		return 0
	}
	return f.window.ChooseInterp(size, align)
}

func (f *failing) MapStack(size uint64, exec bool) (uint64, unix.Errno) {
	if f.fails() {
		return 0, unix.ENOMEM
	}
	return f.window.MapStack(size, exec)
}

func (f *failing) CopyOut(addr uint64, src []byte) unix.Errno {
	if f.fails() {
		return unix.ENOMEM
	}
	return f.window.CopyOut(addr, src)
}

// TestMapFailures fails each request in turn.
func TestMapFailures(t *testing.T) {
	path := compile(t, "gcc", "-pie", "-fPIE")
	for n := 0; ; n++ {
		f := &failing{newWindow(t), n}
		_, err := mustOpen(t, path, Options{}).Map(f)
		f.unmap()
		if f.left >= 0 {
			if err != nil || n < 12 {
				t.Errorf("%d requests, then %v", n, err)
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) || e.Errno != unix.ENOMEM || !e.Fatal || e.Path != path || e.ExitCode != ExitCannotRun {
			t.Fatalf("request %d fails: %#v, want a fatal ENOMEM", n, err)
		}
	}
}

// TestCutMeanwhile: a file that is cut between Open and Map is an error, not a fault of the monitor.
func TestCutMeanwhile(t *testing.T) {
	e := tinyELF()
	e.load(0x600000, 0x2000, 0x80, 0x3000, pfR|pfW)
	path := executable(t, string(e.bytes()))
	p := mustOpen(t, path, Options{})
	if err := os.Truncate(path, pageSize); err != nil {
		t.Fatal(err)
	}
	_, err := p.Map(newWindow(t))
	var bad *Error
	if !errors.As(err, &bad) || bad.Errno != unix.EFAULT || !strings.Contains(bad.Reason, "cut while it was loaded") {
		t.Errorf("got %v", err)
	}
}

// TestHighProgram: a program linked to where the stack is does not get the stack's memory.
func TestHighProgram(t *testing.T) {
	e := tinyELF()
	e.load(testStackTop-0x10000, 0, 0x80, 0x80, pfR)
	p := mustOpen(t, executable(t, string(e.bytes())), Options{})
	_, err := p.Map(newWindow(t))
	var bad *Error
	if !errors.As(err, &bad) || bad.Errno != unix.ENOMEM || !strings.Contains(bad.Reason, "where the stack is") {
		t.Errorf("got %v", err)
	}
}
