package loader

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// errorCase is a file that cannot run. Its errno must be the kernel's own; native differs only where it is given.
type errorCase struct {
	name   string
	path   func(testing.TB) string
	errno  unix.Errno
	fatal  bool
	exit   int // ExitCannotRun if 0
	reason string
	native *verdict // what the kernel does where the loader differs on purpose
}

// broken gives a tiny program after change.
func broken(change func(*elfFile)) func(testing.TB) string {
	return func(t testing.TB) string {
		e := tinyELF()
		change(e)
		return executable(t, string(e.bytes()))
	}
}

// bytesOf gives a tiny program with its bytes changed.
func bytesOf(change func([]byte) []byte) func(testing.TB) string {
	return func(t testing.TB) string { return executable(t, string(change(tinyELF().bytes()))) }
}

func text(content string) func(testing.TB) string {
	return func(t testing.TB) string { return executable(t, content) }
}

func machine(number uint16) func(testing.TB) string {
	return broken(func(e *elfFile) { e.machine = number })
}

// withInterp gives a tiny program whose ELF interpreter holds content.
func withInterp(content []byte) func(testing.TB) string {
	return func(t testing.TB) string {
		interp := executable(t, string(content))
		e := tinyELF()
		e.interp(interp + "\x00")
		return executable(t, string(e.bytes()))
	}
}

var runs, killed = &verdict{}, &verdict{fatal: true}

var elfErrors = []errorCase{
	{name: "empty", path: text(""), errno: unix.ENOEXEC, reason: "is empty"},
	{name: "text", path: text("echo hello\n"), errno: unix.ENOEXEC, reason: "neither an ELF program nor a script"},
	{name: "shorter than a header", path: text("\x7fELF\x02\x01\x01"), errno: unix.ENOEXEC, reason: "truncated ELF file: 7 bytes"},
	{name: "object file", path: broken(func(e *elfFile) { e.typ = 1 }), errno: unix.ENOEXEC, reason: "object file"},
	{name: "core dump", path: broken(func(e *elfFile) { e.typ = 4 }), errno: unix.ENOEXEC, reason: "core dump"},
	{name: "unknown type", path: broken(func(e *elfFile) { e.typ = 77 }), errno: unix.ENOEXEC, reason: "type 77"},
	{name: "aarch64", path: machine(183), errno: unix.ENOEXEC, reason: "a program for aarch64"},
	{name: "riscv64", path: machine(243), errno: unix.ENOEXEC, reason: "a program for riscv64"},
	{name: "unknown machine", path: machine(0x7777), errno: unix.ENOEXEC, reason: "machine 30583"},
	{name: "i386", path: bytesOf(func(b []byte) []byte { b[4], b[18] = class32, 3; return b }), errno: unix.ENOEXEC, reason: "32-bit x86"},
	{name: "x32", path: bytesOf(func(b []byte) []byte { b[4], b[54] = class32, 32; return b }), errno: unix.ENOEXEC, reason: "x32"},
	{name: "big-endian s390", path: bytesOf(func(b []byte) []byte { b[5], b[18], b[19] = dataBig, 0, 22; return b }), errno: unix.ENOEXEC, reason: "s390 (big-endian)"},
	{name: "big-endian x86-64", path: bytesOf(func(b []byte) []byte { b[5], b[18], b[19] = dataBig, 0, 62; return b }), errno: unix.ENOEXEC, reason: "marked big-endian"},
	{name: "odd program headers", path: broken(func(e *elfFile) { e.phentsize = 57 }), errno: unix.ENOEXEC, reason: "57 bytes"},
	{name: "no program headers", path: broken(func(e *elfFile) { e.phdrs = nil }), errno: unix.ENOEXEC, reason: "no program headers"},
	{name: "too many program headers", path: bytesOf(func(b []byte) []byte { le.PutUint16(b[56:], 1171); return b }), errno: unix.ENOEXEC, reason: "at most 1170"},
	{name: "program headers beyond the end", path: broken(func(e *elfFile) { e.phoff = 1 << 40 }), errno: unix.ENOEXEC, reason: "truncated"},
	{name: "program headers beyond any file", path: broken(func(e *elfFile) { e.phoff = 1<<64 - 8 }), errno: unix.ENOEXEC, reason: "truncated"},
	{name: "no PT_LOAD", path: broken(func(e *elfFile) { e.phdrs[0].typ = 4 }), errno: unix.EINVAL, fatal: true, reason: "no loadable segment", native: runs},
	{name: "truncated segment", path: bytesOf(func(b []byte) []byte { return b[:pageSize] }), errno: unix.ENOEXEC, fatal: true, reason: "truncated", native: runs},
	{name: "segment from beyond the end", path: broken(func(e *elfFile) { e.load(0x600000, 1<<30, 16, 16, pfR) }), errno: unix.ENOEXEC, fatal: true, reason: "truncated", native: runs},
	{name: "file bytes beyond memory", path: broken(func(e *elfFile) { e.phdrs[0].memsz = 16 }), errno: unix.EINVAL, fatal: true, reason: "more bytes in the file"},
	{name: "offset and address do not match", path: broken(func(e *elfFile) { e.load(0x600010, 0x20, 16, 16, pfR) }), errno: unix.EINVAL, fatal: true, reason: "modulo the page size"},
	{name: "address in the kernel", path: broken(func(e *elfFile) { e.load(0xffffffff80000000, 0, 16, 16, pfR) }), errno: unix.EINVAL, fatal: true, reason: "outside the address space"},
	{name: "size that wraps", path: broken(func(e *elfFile) { e.load(0x600000, 0, 16, 1<<64-0x600000, pfR) }), errno: unix.EINVAL, fatal: true, reason: "outside the address space"},
	{name: "overlap", path: broken(func(e *elfFile) { e.load(0x400800, 0x800, 0x10, 0x10, pfR) }), errno: unix.EINVAL, fatal: true, reason: "overlap: 0x400000+0x1009 and 0x400800+0x10", native: runs},
	{name: "entry in the kernel", path: broken(func(e *elfFile) { e.entry = 1 << 63 }), errno: unix.EINVAL, fatal: true, reason: "entry point"},
	{name: "absurd alignment", path: broken(func(e *elfFile) {
		e.typ = etDyn
		e.phdrs[0].alignTo = 1 << 62
		e.interp("/lib64/ld-linux-x86-64.so.2\x00")
	}),
		errno: unix.ENOMEM, fatal: true, reason: "alignment", native: runs},
}

var interpErrors = []errorCase{
	{name: "missing glibc", path: broken(func(e *elfFile) { e.interp("/nowhere/ld-linux-x86-64.so.2\x00") }), errno: unix.ENOENT, reason: "package libc6"},
	{name: "missing musl", path: broken(func(e *elfFile) { e.interp("/nowhere/ld-musl-x86_64.so.1\x00") }), errno: unix.ENOENT, reason: "install musl"},
	{name: "missing unknown", path: broken(func(e *elfFile) { e.interp("/nowhere/\x1b[31mld\x00") }), errno: unix.ENOENT, reason: `"/nowhere/\x1b[31mld"`},
	{name: "empty name", path: broken(func(e *elfFile) { e.interp("\x00\x00") }), errno: unix.EACCES, reason: `its ELF interpreter "" is an empty name`},
	{name: "name too short", path: broken(func(e *elfFile) { e.interp("\x00") }), errno: unix.ENOEXEC, reason: "1 bytes"},
	{name: "name too long", path: broken(func(e *elfFile) { e.interp(strings.Repeat("x", unix.PathMax) + "\x00") }), errno: unix.ENOEXEC, reason: "4097 bytes"},
	{name: "name not terminated", path: broken(func(e *elfFile) { e.interp("/bin/true") }), errno: unix.ENOEXEC, reason: "without its terminating NUL"},
	{name: "name beyond the end", path: broken(func(e *elfFile) { e.interp("/x\x00"); e.phdrs[1].off = 1 << 50 }), errno: unix.EIO, reason: "truncated"},
	{name: "directory", path: broken(func(e *elfFile) { e.interp("/tmp\x00") }), errno: unix.EACCES, reason: "its ELF interpreter /tmp is a directory"},
	{name: "empty file", path: withInterp(nil), errno: unix.EIO, reason: "is truncated"},
	{name: "not ELF", path: withInterp([]byte(strings.Repeat("text", 100))), errno: unix.ELIBBAD, reason: "is not an ELF file"},
	{name: "foreign", path: withInterp(func() []byte { e := tinyELF(); e.machine = 183; return e.bytes() }()), errno: unix.ELIBBAD, reason: "aarch64"},
	{name: "truncated headers", path: withInterp(func() []byte { e := tinyELF(); e.phoff = 1 << 40; return e.bytes() }()), errno: unix.ELIBBAD, reason: "program headers"},
	{name: "object file", path: withInterp(func() []byte { e := tinyELF(); e.typ = 1; return e.bytes() }()), errno: unix.ELIBBAD, fatal: true, reason: "object file"},
	{name: "no PT_LOAD", path: withInterp(func() []byte { e := tinyELF(); e.phdrs[0].typ = 4; return e.bytes() }()), errno: unix.EINVAL, fatal: true, reason: "no loadable segment"},
	{name: "same addresses", path: withInterp(tinyELF().bytes()), errno: unix.ENOMEM, fatal: true, reason: "linked to the same addresses", native: runs},
}

var fileErrors = []errorCase{
	{name: "missing", path: func(t testing.TB) string { return filepath.Join(t.TempDir(), "none") }, errno: unix.ENOENT, exit: ExitNotFound, reason: "no such file"},
	{name: "empty path", path: func(testing.TB) string { return "" }, errno: unix.ENOENT, exit: ExitNotFound, reason: "no such file"},
	{name: "not a directory", path: func(testing.TB) string { return "/bin/true/x" }, errno: unix.ENOTDIR, reason: "not a directory"},
	{name: "directory", path: func(testing.TB) string { return "/tmp" }, errno: unix.EACCES, reason: "is a directory"},
	{name: "long path", path: func(testing.TB) string { return "/" + strings.Repeat("x", 5000) }, errno: unix.ENAMETOOLONG, reason: "too long"},
	{name: "long name", path: func(testing.TB) string { return "/" + strings.Repeat("x", 300) }, errno: unix.ENAMETOOLONG, reason: "too long"},
	{name: "device", path: func(testing.TB) string { return "/dev/null" }, errno: unix.EACCES, reason: "is a device"},
	{name: "no execute bit", path: func(t testing.TB) string {
		return writeFile(t, filepath.Join(t.TempDir(), "f"), tinyELF().bytes(), 0o644)
	},
		errno: unix.EACCES, reason: "is not executable: chmod +x"},
	{name: "FIFO", path: special(func(p string) error { return unix.Mkfifo(p, 0o755) }), errno: unix.EACCES, reason: "is a FIFO"},
	{name: "socket", path: special(func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o755, 0) }), errno: unix.EACCES, reason: "is a socket"},
	{name: "symbolic link to itself", path: special(func(p string) error { return os.Symlink(p, p) }), errno: unix.ELOOP, reason: "symbolic links"},
	{name: "file of proc", path: func(testing.TB) string { return "/proc/self/comm" }, errno: unix.EACCES, reason: "is not executable"},
}

func special(make func(string) error) func(testing.TB) string {
	return func(t testing.TB) string {
		path := filepath.Join(t.TempDir(), "special")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

func TestErrors(t *testing.T) {
	for _, group := range []struct {
		name  string
		cases []errorCase
	}{{"elf", elfErrors}, {"interpreter", interpErrors}, {"file", fileErrors}, {"script", scriptErrors}} {
		for _, c := range group.cases {
			t.Run(group.name+"/"+c.name, func(t *testing.T) { c.check(t) })
		}
	}
}

func (c *errorCase) check(t *testing.T) {
	path := c.path(t)
	e := openError(t, path, []string{"x"}, nil, Options{})
	if e.Errno != c.errno || e.Fatal != c.fatal {
		t.Errorf("errno %v fatal %v, want %v %v (%v)", unix.ErrnoName(e.Errno), e.Fatal, unix.ErrnoName(c.errno), c.fatal, e)
	}
	if !strings.Contains(e.Reason, c.reason) {
		t.Errorf("reason %q does not say %q", e.Reason, c.reason)
	}
	wantExit := c.exit
	if wantExit == 0 {
		wantExit = ExitCannotRun
	}
	if e.ExitCode != wantExit {
		t.Errorf("exit code %d, want %d", e.ExitCode, wantExit)
	}
	if e.Path != path || strings.ContainsAny(e.Error(), "\n\x1b\x00") {
		t.Errorf("not one clean line about %q: %q", path, e.Error())
	}
	want := verdict{errno: c.errno}
	if c.fatal {
		want = *killed
	}
	if c.native != nil {
		want = *c.native
	}
	if got := execNative(t, path, []string{"x"}, nil, nil); got != want {
		t.Errorf("natively: %v, want %v", got, want)
	}
	t.Log(e)
}

// openError opens what must fail, and demands that nothing stays open.
func openError(t testing.TB, path string, argv, env []string, opts Options) *Error {
	t.Helper()
	before := openFds(t)
	p, err := Open(path, argv, env, opts)
	if err == nil {
		p.Close()
		t.Fatalf("Open(%q) succeeded", path)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%T instead of *Error: %v", err, err)
	}
	if !errors.Is(err, e.Errno) {
		t.Errorf("errors.Is(%v, %v) is false", err, e.Errno)
	}
	if after := openFds(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	return e
}

func openFds(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestErrorsOfOtherUsers covers what root never sees, by giving up root's rights over files for a while.
func TestErrorsOfOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "loader")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		path   string
		mode   os.FileMode
		reason string
		native verdict
	}{
		{"for the owner only", filepath.Join(dir, "owner"), 0o700, "may not be read", verdict{errno: unix.EACCES}},
		{"not for others to run", filepath.Join(dir, "read"), 0o744, "may not be run by this user", verdict{errno: unix.EACCES}},
		{"for all to run, not to read", filepath.Join(dir, "run"), 0o711, "may not be read by this user", verdict{}},
		{"in a closed directory", filepath.Join(closed, "in"), 0o755, "enter a directory", verdict{errno: unix.EACCES}},
	} {
		t.Run(c.name, func(t *testing.T) {
			writeFile(t, c.path, tinyELF().bytes(), c.mode)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before := openFds(t)
			_ = unix.Setfsuid(65534)
			_, err := Open(c.path, []string{"x"}, nil, Options{})
			native := execNative(t, c.path, []string{"x"}, nil, nil)
			_ = unix.Setfsuid(0)
			var e *Error
			if !errors.As(err, &e) || e.Errno != unix.EACCES || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("got %v, want EACCES: %s", err, c.reason)
			}
			if native != c.native {
				t.Errorf("natively: %v, want %v", native, c.native)
			}
			if after := openFds(t); after != before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}

// TestNoexecMount mounts a file system in a namespace of its own, on a thread that ends with the test.
func TestNoexecMount(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread must not be used again
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			t.Logf("not tested, needs root: unshare: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Errorf("making mounts private: %v", err)
			return
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
			t.Errorf("mount: %v", err)
			return
		}
		path := filepath.Join(dir, "program")
		if err := os.WriteFile(path, tinyELF().bytes(), 0o755); err != nil {
			t.Error(err)
			return
		}
		_, err := Open(path, []string{"x"}, nil, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Errno != unix.EACCES || !strings.Contains(e.Reason, "mounted noexec") {
			t.Errorf("got %v, want EACCES: mounted noexec", err)
		}
		if v := execNative(t, path, []string{"x"}, nil, nil); v.errno != unix.EACCES {
			t.Errorf("natively: %v", v)
		}
	}()
	<-done
}

// TestBoundedMemory: no file makes Open allocate more than its fixed buffers and the largest program header table.
func TestBoundedMemory(t *testing.T) {
	for _, cases := range [][]errorCase{elfErrors, interpErrors, scriptErrors} {
		for _, c := range cases {
			path := c.path(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Open(path, nil, nil, Options{})
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 512<<10 {
				t.Errorf("%s: %d bytes allocated (%v)", c.name, n, err)
			}
		}
	}
}

func TestTextBusy(t *testing.T) {
	path := executable(t, string(tinyELF().bytes()))
	if fd, err := unix.Open("/bin/true", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil || execveCheck(fd) == unix.EINVAL {
		t.Skip("needs AT_EXECVE_CHECK, Linux 6.14")
	} else {
		unix.Close(fd)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if e := openError(t, path, []string{"x"}, nil, Options{TextBusy: true}); e.Errno != unix.ETXTBSY {
		t.Errorf("open for writing: %v, want ETXTBSY", e)
	}
	if v := execNative(t, path, []string{"x"}, nil, nil); v.errno != unix.ETXTBSY {
		t.Errorf("natively: %v, want ETXTBSY", v)
	}
	f.Close()
	p, err := Open(path, []string{"x"}, nil, Options{TextBusy: true})
	if err != nil {
		t.Fatalf("after the writer has gone: %v", err)
	}
	p.Close()
}
