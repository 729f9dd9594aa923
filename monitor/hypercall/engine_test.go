package hypercall_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if err := hostcall.Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func newTask(tb testing.TB) *faketask.Task { return faketask.New(tb, faketask.NewProcess()) }

type gva = faketask.GVA

const (
	page = 4096
	far  = gva(1 << 62) // outside user space, natively too
)

func TestPointer(t *testing.T) {
	const bad = uintptr(0xffff_8000_0000_0000)
	for _, c := range []struct {
		p, n uint64
		want uintptr
	}{
		{0, 1, usermem.Window},
		{1, 0, usermem.Window + 1},
		{usermem.Size - 1, 1, usermem.Window + usermem.Size - 1},
		{usermem.Size - 1, 2, bad},
		{usermem.Size, 0, bad},
		{usermem.Size, 1, bad},
		{1 << 47, 1, bad},
		{1 << 63, 1, bad},
		{^uint64(0), 1, bad},
		{^uint64(0), ^uint64(0), bad},
		{4096, ^uint64(0), usermem.Window + 4096}, // no call moves more than maxRW
		{usermem.Size - 4096, ^uint64(0), bad},
	} {
		if got := hypercall.Pointer(c.p, c.n); got != c.want {
			t.Errorf("Pointer(%#x, %#x) = %#x, want %#x", c.p, c.n, got, c.want)
		}
	}
	if hypercall.PointerOrNil(0, 1) != 0 || hypercall.PointerOrNil(1, 1) != usermem.Window+1 {
		t.Error("PointerOrNil")
	}
}

func TestScratch(t *testing.T) {
	s := hypercall.NewScratch()
	t.Cleanup(s.Free)
	inWindow := func(p uintptr) bool { return p >= usermem.Window && p < usermem.Window+usermem.Size }
	var last uintptr
	for _, n := range []int{0, 1, 15, 16, 4096, 100, 200 << 10, 1 << 20, 64 << 10, 8} {
		m := s.Alloc(n)
		if m.Host() == 0 || inWindow(m.Host()) || m.Host()%16 != 0 || len(m.Bytes()) != n {
			t.Fatalf("Alloc(%d): %#x, %d bytes", n, m.Host(), len(m.Bytes()))
		}
		for i := range m.Bytes() {
			m.Bytes()[i] = byte(n)
		}
		last = m.Host()
	}
	if s.Total() < 1<<20 {
		t.Errorf("Total() = %d", s.Total())
	}
	s.Reset()
	if s.Total() != 0 {
		t.Errorf("Total() = %d after Reset", s.Total())
	}
	if again := s.Alloc(8).Host(); again >= last {
		t.Errorf("after Reset at %#x, before at %#x", again, last)
	}
	m := s.Alloc(16)
	m.PutUint64(8, 1<<40+7)
	m.PutUint32(0, 9)
	if m.Uint64(8) != 1<<40+7 || m.Uint32(0) != 9 {
		t.Error("words do not come back")
	}
	if big := s.Alloc(1 << 60); big.Host() != 0 {
		t.Error("more memory than there is")
	}
}

// same makes a call through the engine and natively and compares the results.
func same(t *testing.T, k *faketask.Task, nr int, args ...any) uint64 {
	t.Helper()
	got, want := k.Do(nr, args...), k.Native(nr, args...)
	if got != want {
		t.Errorf("%s%v = %d (%v), natively %d (%v)", hypercall.Lookup(nr).Name, args,
			int64(got), hypercall.Errno(got), int64(want), hypercall.Errno(want))
	}
	return got
}

func tempFile(t *testing.T, text string) int {
	t.Helper()
	fd, err := unix.Open(t.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Pwrite(fd, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestPassFiles(t *testing.T) {
	k := newTask(t)
	const text = "the quick brown fox jumps over the lazy dog"
	fd := tempFile(t, text)
	buf := k.Map(2)

	if r := k.Do(unix.SYS_READ, fd, buf, 100); r != uint64(len(text)) || string(k.Read(buf, len(text))) != text {
		t.Errorf("read = %d %q", r, k.Read(buf, len(text)))
	}
	if r := k.Do(unix.SYS_LSEEK, fd, -4, unix.SEEK_END); r != uint64(len(text)-4) {
		t.Errorf("lseek = %d", int64(r))
	}
	k.Write(buf, []byte("a cat!"))
	if r := k.Do(unix.SYS_WRITE, fd, buf, 6); r != 6 {
		t.Errorf("write = %d", int64(r))
	}
	if r := k.Do(unix.SYS_PREAD64, fd, buf, 100, 35); r != 10 || string(k.Read(buf, 10)) != "lazya cat!" {
		t.Errorf("pread64 = %d %q", int64(r), k.Read(buf, 10))
	}
	same(t, k, unix.SYS_FSTAT, fd, buf)
	same(t, k, unix.SYS_FTRUNCATE, fd, 10)
	same(t, k, unix.SYS_FTRUNCATE, fd, -1)
	same(t, k, unix.SYS_FSYNC, fd)
	same(t, k, unix.SYS_FADVISE64, fd, 0, 100, unix.FADV_RANDOM)
	same(t, k, unix.SYS_FADVISE64, fd, 0, 100, 99)
	same(t, k, unix.SYS_FALLOCATE, fd, 0, 0, 8192)
	same(t, k, unix.SYS_FCHMOD, fd, 0o640)
	same(t, k, unix.SYS_FSTATFS, fd, buf)
	same(t, k, unix.SYS_FLOCK, fd, unix.LOCK_EX|unix.LOCK_NB)
}

// iovecs builds an array of struct iovec.
func iovecs(pairs ...uint64) []byte {
	var b []byte
	for _, v := range pairs {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func TestPassVectors(t *testing.T) {
	k := newTask(t)
	fd := tempFile(t, "0123456789abcdef")
	a, b := k.Map(1), k.Map(1)
	iov := k.Put(iovecs(uint64(a), 4, 0, 0, uint64(b)+page-8, 8))
	if r := k.Do(unix.SYS_READV, fd, iov, 3); r != 12 || string(k.Read(a, 4)) != "0123" || string(k.Read(b+page-8, 8)) != "456789ab" {
		t.Errorf("readv = %d %q %q", int64(r), k.Read(a, 4), k.Read(b+page-8, 8))
	}
	if !bytes.Equal(k.Read(iov, 48), iovecs(uint64(a), 4, 0, 0, uint64(b)+page-8, 8)) {
		t.Error("readv changed the payload's iovecs")
	}
	if r := k.Do(unix.SYS_PWRITEV, fd, iov, 3, 100, 0); r != 12 {
		t.Errorf("pwritev = %d", int64(r))
	}
	if r := k.Do(unix.SYS_PREADV2, fd, iov, 3, 102, 0, 0); r != 10 || string(k.Read(a, 4)) != "2345" {
		t.Errorf("preadv2 = %d %q", int64(r), k.Read(a, 4))
	}
	// The second vector ends in a hole: what comes before is transferred.
	hole := k.Put(iovecs(uint64(a), 4, uint64(b)+page-2, 8))
	if r := k.Do(unix.SYS_PREADV, fd, hole, 2, 0, 0); r != 6 {
		t.Errorf("preadv into a hole = %d", int64(r))
	}
	for _, c := range [][]any{
		{fd, iov, -1}, {fd, iov, 1025}, {fd, iov, 0}, {-1, gva(1), 1}, {fd, iov + page, 1}, {fd, iov + page - 8, 1},
	} {
		same(t, k, unix.SYS_READV, c...)
	}
	huge := k.Put(iovecs(uint64(a), 1<<63, uint64(b), 1))
	if r := k.Do(unix.SYS_READV, fd, huge, 2); r != hypercall.Err(unix.EINVAL) {
		t.Errorf("readv of 2^63 bytes = %v", hypercall.Errno(r))
	}
}

func TestBadPointers(t *testing.T) {
	k := newTask(t)
	fd := tempFile(t, "some text to be read by somebody")
	p := k.Map(1)
	ro := k.MapAt(uint64(p)+16*page, 1, unix.PROT_READ)
	for _, c := range []struct {
		nr   int
		args func(p gva) []any
	}{
		{unix.SYS_READ, func(p gva) []any { return []any{fd, p, 8} }},
		{unix.SYS_READ, func(p gva) []any { return []any{fd, p, 0} }},
		{unix.SYS_READ, func(p gva) []any { return []any{-1, p, 8} }},
		{unix.SYS_WRITE, func(p gva) []any { return []any{fd, p, 8} }},
		{unix.SYS_PREAD64, func(p gva) []any { return []any{fd, p, 8, 1000000} }},
		{unix.SYS_FSTAT, func(p gva) []any { return []any{fd, p} }},
		{unix.SYS_FSTAT, func(p gva) []any { return []any{12345, p} }},
		{unix.SYS_LGETXATTR, func(p gva) []any { return []any{p, p, p, 8} }},
		{unix.SYS_MKDIR, func(p gva) []any { return []any{p, 0o777} }},
		{unix.SYS_GETCWD, func(p gva) []any { return []any{p, 100} }},
		{unix.SYS_GETCWD, func(p gva) []any { return []any{p, 1} }},
		{unix.SYS_CLOCK_GETTIME, func(p gva) []any { return []any{unix.CLOCK_REALTIME, p} }},
		{unix.SYS_CLOCK_GETRES, func(p gva) []any { return []any{unix.CLOCK_REALTIME, p} }},
		{unix.SYS_GETRUSAGE, func(p gva) []any { return []any{unix.RUSAGE_SELF, p} }},
		{unix.SYS_GETITIMER, func(p gva) []any { return []any{unix.ITIMER_REAL, p} }},
		{unix.SYS_SCHED_GETPARAM, func(p gva) []any { return []any{0, p} }},
		{unix.SYS_GETRESUID, func(p gva) []any { return []any{p, p, p} }},
		{unix.SYS_SYSINFO, func(p gva) []any { return []any{p} }},
		{unix.SYS_CONNECT, func(p gva) []any { return []any{fd, p, 16} }},
		{unix.SYS_GETRANDOM, func(p gva) []any { return []any{p, 0, 0} }},
	} {
		for name, p := range map[string]gva{"NULL": 0, "hole": p + page, "read-only": ro, "crossing": p + page - 4, "odd": p + 3} {
			got, want := k.Do(c.nr, c.args(p)...), k.Native(c.nr, c.args(p)...)
			if c.nr == unix.SYS_READ {
				got, want = uint64(hypercall.Errno(got)), uint64(hypercall.Errno(want)) // the offset has moved
			}
			if got != want {
				t.Errorf("%s with %s: %d, natively %d", hypercall.Lookup(c.nr).Name, name, int64(got), int64(want))
			}
		}
		// Addresses that mean something to the monitor but nothing to the payload.
		local := make([]byte, 512)
		for name, a := range map[string]struct{ p, like gva }{
			"end": {usermem.Size, far}, "above": {0x7fff_ffff_f000, far}, "kernel": {0xffff_ffff_8000_0000, far},
			"minus one": {^gva(0), far}, "monitor": {gva(addressOf(local)), like(addressOf(local), p+page)},
			"host address": {gva(uintptr(p) + usermem.Window), p + page},
		} {
			got, want := k.Do(c.nr, c.args(a.p)...), k.Native(c.nr, c.args(a.like)...)
			if got != want {
				t.Errorf("%s with %s (%#x): %d, natively %d", hypercall.Lookup(c.nr).Name, name, a.p, int64(got), int64(want))
			}
		}
		if !bytes.Equal(local, make([]byte, 512)) {
			t.Fatalf("%s wrote the monitor's memory", hypercall.Lookup(c.nr).Name)
		}
	}
}

// like is where the payload's address p is as bad natively: in a hole, or outside
// user space.
func like(p uintptr, hole gva) gva {
	if p < usermem.Size {
		return hole
	}
	return far
}

func TestClip(t *testing.T) {
	k := newTask(t)
	p := k.MapAt(usermem.Size-2*page, 1, unix.PROT_READ|unix.PROT_WRITE)
	// A buffer longer than the address space, as readlink and getcwd take it.
	if r := k.Do(unix.SYS_GETCWD, p, 1<<30); hypercall.Errno(r) != 0 {
		t.Errorf("getcwd with a large size = %v", hypercall.Errno(r))
	}
	if r := k.Do(unix.SYS_GETRANDOM, p, 1<<40, 0); r != page {
		t.Errorf("getrandom = %d", int64(r))
	}
	if r := k.Do(unix.SYS_READ, tempFile(t, "text"), p, 1<<40); r != hypercall.Err(unix.EFAULT) {
		t.Errorf("read beyond the end of the window = %d", int64(r))
	}
}

func TestDescriptorsOfTheMonitor(t *testing.T) {
	k := newTask(t)
	own := k.OwnedFD(tempDup(t))
	p := k.Put([]byte("text"))
	for _, c := range []struct {
		nr   int
		args []any
	}{
		{unix.SYS_READ, []any{own, p, 4}}, {unix.SYS_WRITE, []any{own, p, 4}}, {unix.SYS_CLOSE, []any{own}},
		{unix.SYS_LSEEK, []any{own, 0, 0}}, {unix.SYS_FSTAT, []any{own, p}}, {unix.SYS_DUP, []any{own}},
		{unix.SYS_FTRUNCATE, []any{own, 0}}, {unix.SYS_READV, []any{own, p, 0}}, {unix.SYS_FCHDIR, []any{own}},
		{unix.SYS_SENDFILE, []any{1, own, 0, 1}}, {unix.SYS_SENDFILE, []any{own, 1, 0, 1}},
		{unix.SYS_EPOLL_CTL, []any{own, 1, 0, p}}, {unix.SYS_FLOCK, []any{own, unix.LOCK_SH}},
		{unix.SYS_UNLINKAT, []any{own, p, 0}}, {unix.SYS_SENDTO, []any{own, p, 4, 0, 0, 0}},
		{unix.SYS_TIMERFD_SETTIME, []any{own, 0, p, 0}}, {unix.SYS_FGETXATTR, []any{own, p, p, 4}},
		{unix.SYS_SPLICE, []any{own, 0, own, 0, 4, 0}}, {unix.SYS_INOTIFY_RM_WATCH, []any{own, 1}},
		{unix.SYS_PROCESS_MRELEASE, []any{own, 0, 0, 0}}, {unix.SYS_SYNCFS, []any{own}},
	} {
		if r := k.Do(c.nr, c.args...); r != hypercall.Err(unix.EBADF) {
			t.Errorf("%s of a monitor's descriptor = %d", hypercall.Lookup(c.nr).Name, int64(r))
		}
	}
	if _, err := unix.FcntlInt(uintptr(own), unix.F_GETFD, 0); err != nil {
		t.Errorf("the monitor's descriptor: %v", err)
	}
	// Absolute paths do not need the directory.
	k.Write(p, []byte("/\x00"))
	if r := k.Do(unix.SYS_MKDIRAT, own, p, 0o777); r != hypercall.Err(unix.EEXIST) {
		t.Errorf("mkdirat(/) = %v", hypercall.Errno(r))
	}
	if r := k.Do(unix.SYS_MKDIRAT, unix.AT_FDCWD, p, 0o777); r != hypercall.Err(unix.EEXIST) {
		t.Errorf("mkdirat(AT_FDCWD, /) = %v", hypercall.Errno(r))
	}
}

func tempDup(t *testing.T) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(tempFile(t, "secret")), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestNewDescriptors(t *testing.T) {
	k := newTask(t)
	fd := tempFile(t, "")
	k.FD(k.Do(unix.SYS_DUP, fd))
	k.Limit = fd + 1 // the next one is beyond
	for _, c := range []struct {
		nr   int
		args []any
	}{
		{unix.SYS_DUP, []any{fd}}, {unix.SYS_EPOLL_CREATE1, []any{0}}, {unix.SYS_EVENTFD2, []any{0, 0}},
		{unix.SYS_SOCKET, []any{unix.AF_UNIX, unix.SOCK_STREAM, 0}}, {unix.SYS_INOTIFY_INIT1, []any{0}},
	} {
		before := openDescriptors(t)
		if r := k.Do(c.nr, c.args...); r != hypercall.Err(unix.EMFILE) {
			t.Errorf("%s = %d, want EMFILE", hypercall.Lookup(c.nr).Name, int64(r))
		}
		if after := openDescriptors(t); after != before {
			t.Errorf("%s left %d descriptors open", hypercall.Lookup(c.nr).Name, after-before)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestSleepGoesOnAfterAKick(t *testing.T) {
	k := newTask(t)
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	buf := k.Map(1)
	kicks := 0
	k.Interrupted = func() {
		if kicks++; kicks < 5 {
			hostcall.Kick(k.Tid())
			return
		}
		unix.Write(fds[1], []byte("done"))
	}
	hostcall.Kick(k.Tid())
	if r := k.Do(unix.SYS_READ, fds[0], buf, 10); r != 4 || string(k.Read(buf, 4)) != "done" || kicks != 5 {
		t.Errorf("read = %d after %d kicks", int64(r), kicks)
	}
	// close has had its effect when it is interrupted: it is not made again.
	k.Interrupted = nil
	hostcall.Kick(k.Tid())
	fd := tempDup(t)
	if r := k.Do(unix.SYS_CLOSE, fd); r != 0 {
		t.Errorf("close = %v", hypercall.Errno(r))
	}
}

func TestPassAllocatesNothing(t *testing.T) {
	k := newTask(t)
	fd := tempFile(t, "text")
	buf := k.Map(1)
	iov := k.Put(iovecs(uint64(buf), 4, uint64(buf)+8, 4))
	for name, a := range map[string][6]uint64{
		"getppid": {}, "pread64": {uint64(fd), uint64(buf), 4, 0}, "preadv": {uint64(fd), uint64(iov), 2}, "fstat": {uint64(fd), uint64(buf)},
	} {
		row := hypercall.ByName(name)
		n := testing.AllocsPerRun(100, func() {
			k.Scratch().Reset()
			if r := hypercall.PassThrough(k, row, &a); hypercall.Errno(r) != 0 {
				t.Fatal(name, hypercall.Errno(r))
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func benchmark(b *testing.B, nr int, args func(k *faketask.Task) [6]uint64) {
	k := newTask(b)
	a := args(k)
	row := hypercall.Lookup(nr)
	b.Run("native", func(b *testing.B) {
		h := hypercall.Translate(k, row, &a)
		for b.Loop() {
			hostcall.Raw(uintptr(nr), h[0], h[1], h[2], h[3], h[4], h[5])
		}
	})
	b.Run("pass", func(b *testing.B) {
		k := newTask(b)
		for b.Loop() {
			hypercall.PassThrough(k, row, &a)
		}
	})
}

func BenchmarkGetppid(b *testing.B) {
	benchmark(b, unix.SYS_GETPPID, func(*faketask.Task) (a [6]uint64) { return })
}

func BenchmarkRead4K(b *testing.B) {
	f, err := os.Open("/dev/zero")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	benchmark(b, unix.SYS_READ, func(k *faketask.Task) [6]uint64 { return [6]uint64{uint64(f.Fd()), uint64(k.Map(1)), page} })
}
