package sys

import (
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
)

// hot are calls that programs make all the time, ready to be made again and
// again without waiting.
func hot(t testing.TB, k *faketask.Task) map[int][6]uint64 {
	fd := mustOpenAny(t, "/dev/zero")
	p := k.Map(1)
	if r := k.Do(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0, p); r != 0 {
		t.Fatal(hypercall.Errno(r))
	}
	a, b := k.FD(uint64(le32(k.Read(p, 4)))), k.FD(uint64(le32(k.Read(p+4, 4))))
	ep := k.FD(k.Do(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC))
	text, buf, path := k.Put([]byte("text")), k.Map(2), k.Str("/dev/null")
	out := k.Put(msghdr(0, 0, iovec(k, uint64(text), 4), 1, 0, 0))
	in := k.Put(msghdr(0, 0, iovec(k, uint64(buf), 4), 1, 0, 0))
	const atCWD, now = ^uint64(99), 0
	return map[int][6]uint64{
		unix.SYS_POLL:       {uint64(k.Put(pollfd(fd, unix.POLLIN))), 1, now},
		unix.SYS_PPOLL:      {uint64(k.Put(pollfd(fd, unix.POLLIN))), 1, uint64(k.Put(timespec(0))), uint64(k.Map(1)), 8},
		unix.SYS_SELECT:     {0, 0, 0, 0, uint64(k.Put(timeval(0)))},
		unix.SYS_EPOLL_WAIT: {uint64(ep), uint64(buf), 1, now},
		unix.SYS_NANOSLEEP:  {uint64(k.Put(timespec(1)))},
		unix.SYS_FUTEX:      {uint64(buf), private, 1, uint64(k.Put(timespec(1)))},
		unix.SYS_SENDMSG:    {uint64(a), uint64(out), unix.MSG_DONTWAIT},
		unix.SYS_RECVMSG:    {uint64(b), uint64(in), unix.MSG_DONTWAIT},
		unix.SYS_FCNTL:      {uint64(fd), unix.F_GETFL},
		unix.SYS_IOCTL:      {uint64(a), unix.TIOCINQ, uint64(buf)},
		unix.SYS_NEWFSTATAT: {atCWD, uint64(path), uint64(buf)},
		unix.SYS_STAT:       {uint64(path), uint64(buf)},
		unix.SYS_ACCESS:     {uint64(path)},
		unix.SYS_GETDENTS64: {uint64(mustOpenAny(t, "/usr")), uint64(buf), 4096},
		unix.SYS_GETSOCKOPT: {uint64(a), unix.SOL_SOCKET, unix.SO_TYPE, uint64(buf), uint64(k.Put([]byte{4, 0, 0, 0}))},
	}
}

func mustOpenAny(t testing.TB, name string) int {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestHotCallsAllocateNothing(t *testing.T) {
	k := newTask(t)
	for nr, a := range hot(t, k) {
		name := hypercall.Lookup(nr).Name
		args := new([6]uint64)
		n := testing.AllocsPerRun(50, func() {
			*args = a
			k.Once(nr, args)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	path := k.Str("/dev/null")
	args := new([6]uint64)
	if n := testing.AllocsPerRun(50, func() {
		*args = [6]uint64{atCWD, uint64(path), unix.O_RDONLY | unix.O_CLOEXEC}
		r := k.Once(unix.SYS_OPENAT, args)
		unix.Close(int(r))
	}); n != 0 {
		t.Errorf("openat: %v allocations", n)
	}
}

func BenchmarkHot(b *testing.B) {
	k := newTask(b)
	for nr, a := range hot(b, k) {
		b.Run(hypercall.Lookup(nr).Name, func(b *testing.B) {
			k := newTask(b)
			b.ReportAllocs()
			args := new([6]uint64)
			for b.Loop() {
				*args = a
				k.Once(nr, args)
			}
		})
	}
}
