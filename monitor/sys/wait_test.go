package sys

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// kicking makes every sleep of k end with a kick before it has begun, n times.
// It returns how often that happened.
func kicking(k *faketask.Task, n int) *int {
	count := new(int)
	k.Interrupted = func() {
		if *count++; *count < n {
			hostcall.Kick(k.Tid())
		}
	}
	hostcall.Kick(k.Tid())
	return count
}

// kickAsleep kicks k from another thread each time it sleeps in the host, n
// times.
func kickAsleep(t *testing.T, k *faketask.Task, n int) (count *int, stop func()) {
	t.Helper()
	count = new(int)
	again := make(chan struct{}, n+1)
	k.Interrupted = func() {
		if *count++; *count < n {
			again <- struct{}{}
		}
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	tid := k.Tid()
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-again:
				if waitAsleep(tid, done) {
					hostcall.Kick(tid)
				}
			}
		}
	}()
	again <- struct{}{}
	return count, func() {
		close(done)
		<-stopped
		k.Interrupted = nil
	}
}

// waitAsleep waits until a thread sleeps in a system call of its payload's: not in
// a futex of Go's scheduler. It is false if done was closed first.
func waitAsleep(tid int, done <-chan struct{}) bool {
	for !sleeps(tid) {
		select {
		case <-done:
			return false
		default:
			runtime.Gosched()
		}
	}
	return true
}

func sleeps(tid int) bool {
	text, err := readFile(unix.AT_FDCWD, "/proc/self/task/"+itoa(tid)+"/syscall")
	if err != nil {
		return true // it has ended
	}
	f := strings.Fields(string(text))
	if len(f) < 2 || f[0] == "running" || f[0] == "-1" {
		return false
	}
	word, err := strconv.ParseUint(f[1], 0, 64)
	return err == nil && (f[0] != strconv.Itoa(unix.SYS_FUTEX) || word >= usermem.Window && word < usermem.Window+usermem.Size)
}

func timespec(d time.Duration) []byte {
	b := make([]byte, sizeTimespec)
	put64(b, uint64(d/time.Second))
	put64(b[8:], uint64(d%time.Second))
	return b
}

func timeval(d time.Duration) []byte {
	b := make([]byte, sizeTimespec)
	put64(b, uint64(d/time.Second))
	put64(b[8:], uint64(d%time.Second/time.Microsecond))
	return b
}

// pipePair returns a pipe of the payload's.
func pipePair(t *testing.T, k *faketask.Task) (r, w int) {
	t.Helper()
	p := k.Map(1)
	want(t, "pipe2", k.Do(unix.SYS_PIPE2, p, unix.O_CLOEXEC), 0)
	return k.FD(uint64(le32(k.Read(p, 4)))), k.FD(uint64(le32(k.Read(p+4, 4))))
}

func pollfd(fd, events int) []byte {
	b := make([]byte, sizePollfd)
	put32(b, uint32(fd))
	put32(b[4:], uint32(events))
	return b
}

// waits are the calls that wait for a time, each with its timeout.
func waits(t *testing.T, k *faketask.Task, d time.Duration) map[string]func() uint64 {
	t.Helper()
	r, _ := pipePair(t, k)
	ep := k.FD(k.Do(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC))
	fds, events, word := k.Put(pollfd(r, unix.POLLIN)), k.Map(1), k.Map(1)
	sem := semaphore(t, k)
	ms := int(d / time.Millisecond)
	op := k.Put([]byte{0, 0, 0xff, 0xff, 0, 0})
	return map[string]func() uint64{
		"nanosleep": func() uint64 { return k.Do(unix.SYS_NANOSLEEP, k.Put(timespec(d)), 0) },
		"clock_nanosleep": func() uint64 {
			return k.Do(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_BOOTTIME, 0, k.Put(timespec(d)), k.Map(1))
		},
		"clock_nanosleep of CLOCK_REALTIME": func() uint64 {
			return k.Do(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_REALTIME, 0, k.Put(timespec(d)), 0)
		},
		"poll":         func() uint64 { return k.Do(unix.SYS_POLL, fds, 1, ms) },
		"ppoll":        func() uint64 { return k.Do(unix.SYS_PPOLL, fds, 1, k.Put(timespec(d)), 0, 0) },
		"select":       func() uint64 { return k.Do(unix.SYS_SELECT, 0, 0, 0, 0, k.Put(timeval(d))) },
		"pselect6":     func() uint64 { return k.Do(unix.SYS_PSELECT6, 0, 0, 0, 0, k.Put(timespec(d)), 0) },
		"epoll_wait":   func() uint64 { return k.Do(unix.SYS_EPOLL_WAIT, ep, events, 1, ms) },
		"epoll_pwait":  func() uint64 { return k.Do(unix.SYS_EPOLL_PWAIT, ep, events, 1, ms, k.Map(1), 8) },
		"epoll_pwait2": func() uint64 { return k.Do(unix.SYS_EPOLL_PWAIT2, ep, events, 1, k.Put(timespec(d)), 0, 0) },
		"futex": func() uint64 {
			return expired(k.Do(unix.SYS_FUTEX, word, 128, 0, k.Put(timespec(d))), unix.ETIMEDOUT)
		},
		"semtimedop": func() uint64 {
			return expired(k.Do(unix.SYS_SEMTIMEDOP, sem, op, 1, k.Put(timespec(d))), unix.EAGAIN)
		},
	}
}

// expired makes the errno of a timeout 0.
func expired(r uint64, e unix.Errno) uint64 {
	if r == hypercall.Err(e) {
		return 0
	}
	return r
}

func semaphore(t *testing.T, k *faketask.Task) int {
	t.Helper()
	r := k.Do(unix.SYS_SEMGET, unix.IPC_PRIVATE, 1, 0o600)
	if e := hypercall.Errno(r); e != 0 {
		t.Fatal("semget:", e)
	}
	t.Cleanup(func() { k.Native(unix.SYS_SEMCTL, r, 0, ipcRmid) })
	return int(r)
}

// TestTimeoutsOverKicks: however often a wait is kicked, it takes no less than
// its time, and not that time again for each kick.
func TestTimeoutsOverKicks(t *testing.T) {
	const d, kicks, tries = 60 * time.Millisecond, 20, 10
	k := newTask(t)
	for name, wait := range waits(t, k, d) {
		// A wait that begins anew after each kick is never short; on a busy host any other may be long, or not be kicked.
		short := false
		for range tries {
			count, stop := kickAsleep(t, k, kicks)
			start := time.Now()
			want(t, name, wait(), 0)
			elapsed := time.Since(start)
			stop()
			if elapsed < d {
				t.Errorf("%s: over after %v of %v", name, elapsed, d)
			}
			if short = *count > 2 && elapsed <= d*time.Duration(1+*count/2); short {
				break
			}
		}
		if !short {
			t.Errorf("%s: each kick makes the wait begin anew", name)
		}
	}
}

func TestWaitsThatNeverBegan(t *testing.T) {
	k := newTask(t)
	for name, wait := range waits(t, k, time.Millisecond) {
		count := kicking(k, 3)
		want(t, name, wait(), 0)
		if *count != 3 {
			t.Errorf("%s: interrupted %d times, want 3", name, *count)
		}
		k.Interrupted = nil
	}
}

// TestInterruptedBy checks what the run loop is told when a handler is to run.
func TestInterruptedBy(t *testing.T) {
	k := newTask(t)
	r, _ := pipePair(t, k)
	buf, word, long := k.Map(1), k.Map(1), k.Put(timespec(time.Hour))
	fds := k.Put(pollfd(r, unix.POLLIN))
	ep := k.FD(k.Do(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC))
	ms := uint64(3600_000)
	sem := uint64(semaphore(t, k))
	op := k.Put([]byte{0, 0, 0xff, 0xff, 0, 0})
	for name, c := range map[string]struct {
		nr   int
		args [6]uint64
		code unix.Errno
	}{
		"read":            {unix.SYS_READ, [6]uint64{uint64(r), uint64(buf), 1}, hypercall.ERESTARTSYS},
		"nanosleep":       {unix.SYS_NANOSLEEP, [6]uint64{uint64(long), uint64(buf)}, hypercall.ERESTART_RESTARTBLOCK},
		"absolute sleep":  {unix.SYS_CLOCK_NANOSLEEP, [6]uint64{unix.CLOCK_REALTIME, 1, uint64(k.Put(timespec(1 << 62)))}, hypercall.ERESTARTNOHAND},
		"poll":            {unix.SYS_POLL, [6]uint64{uint64(fds), 1, ^uint64(0)}, hypercall.ERESTART_RESTARTBLOCK},
		"select":          {unix.SYS_SELECT, [6]uint64{}, hypercall.ERESTART_RESTARTBLOCK},
		"epoll_wait":      {unix.SYS_EPOLL_WAIT, [6]uint64{uint64(ep), uint64(buf), 1, ms}, hypercall.ERESTART_RESTARTBLOCK},
		"futex":           {unix.SYS_FUTEX, [6]uint64{uint64(word), 128}, hypercall.ERESTARTSYS},
		"futex with time": {unix.SYS_FUTEX, [6]uint64{uint64(word), 128, 0, uint64(long)}, hypercall.ERESTART_RESTARTBLOCK},
		"semop":           {unix.SYS_SEMOP, [6]uint64{sem, uint64(op), 1}, hypercall.ERESTARTNOHAND},
		"flock":           {unix.SYS_FLOCK, [6]uint64{uint64(lockedElsewhere(t, k)), unix.LOCK_EX}, hypercall.ERESTARTSYS},
	} {
		_, stop := kickAsleep(t, k, 1)
		if got := k.Once(c.nr, &c.args); hypercall.Errno(got) != c.code {
			t.Errorf("%s: %d, want -%d", name, int64(got), c.code)
		}
		stop()
	}
	if left := le64(k.Read(buf, 8)); left > 3600 || left < 3590 {
		t.Errorf("nanosleep says %d s are left of 3600", left)
	}
}

// lockedElsewhere returns a file that another open file has locked.
func lockedElsewhere(t *testing.T, k *faketask.Task) int {
	t.Helper()
	name := tempFile(t, "")
	other := mustOpen(t, name)
	t.Cleanup(func() { unix.Close(other) })
	if err := unix.Flock(other, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return k.FD(k.Do(unix.SYS_OPEN, k.Str(name), 0, 0))
}

func TestPoll(t *testing.T) {
	k := newTask(t)
	r, w := pipePair(t, k)
	own := secret(t, k)
	fds := append(append(append(pollfd(r, unix.POLLIN), pollfd(own, unix.POLLIN)...), pollfd(-1, unix.POLLIN)...), pollfd(w, unix.POLLOUT)...)
	p := k.Put(fds)
	want(t, "poll", k.Do(unix.SYS_POLL, p, 4, 0), 2)
	b := k.Read(p, 32)
	if b[6] != 0 || b[14] != unix.POLLNVAL || b[22] != 0 || b[30] != unix.POLLOUT {
		t.Errorf("revents %#x %#x %#x %#x", b[6], b[14], b[22], b[30])
	}
	if le32(b[8:]) != uint32(own) {
		t.Error("poll changed a descriptor")
	}
	for _, c := range [][]any{{p + page, 1, 0}, {p, 1 << 20, 0}, {gva(0), 0, 0}, {gva(0), 1, 0}, {p + page - 4, 1, 0}, {gva(1 << 62), 0, 0}} {
		same(t, k, unix.SYS_POLL, c...)
	}
	for _, c := range [][]any{{p, 1, p + page, 0, 0}, {p, 1, k.Put(timespec(-1)), 0, 0}, {p, 1, 0, p, 7}, {p, 1, 0, p + page, 8}} {
		same(t, k, unix.SYS_PPOLL, c...)
	}
	set := make([]byte, 128)
	set[r/8] |= 1 << (r % 8)
	set[w/8] |= 1 << (w % 8)
	in, out := k.Put(set), k.Put(set)
	want(t, "select", k.Do(unix.SYS_SELECT, 1024, in, out, 0, k.Put(timeval(time.Hour))), 1)
	if k.Read(in, 128)[r/8] != 0 || k.Read(out, 128)[w/8]>>(w%8)&1 != 1 {
		t.Error("sets after select")
	}
	for _, c := range [][]any{{-1, 0, 0, 0, 0}, {10, p + page, 0, 0, 0}, {0, 0, 0, 0, k.Put(timeval(-time.Second))}, {0, 0, 0, 0, p + page}} {
		same(t, k, unix.SYS_SELECT, c...)
	}
	tv := k.Put(timeval(time.Hour))
	k.Write(in, set)
	unix.Write(w, []byte("x"))
	want(t, "select", k.Do(unix.SYS_SELECT, r+1, in, 0, 0, tv), 1)
	if left := le64(k.Read(tv, 8)); left > 3600 || left < 3590 {
		t.Errorf("select left %d s of 3600", left)
	}
	mask := k.Put([]byte{0, 2, 0, 0, 0, 0, 0, 0})
	arg := make([]byte, 16)
	put64(arg, uint64(mask))
	put64(arg[8:], 8)
	k.Write(in, set)
	want(t, "pselect6", k.Do(unix.SYS_PSELECT6, r+1, in, 0, 0, 0, k.Put(arg)), 1)
	if len(k.Masks) == 0 || k.Masks[len(k.Masks)-1] != 0x200 {
		t.Errorf("masks %#x", k.Masks)
	}
	put64(arg[8:], 4)
	same(t, k, unix.SYS_PSELECT6, 0, 0, 0, 0, 0, k.Put(arg))
}

func TestEpoll(t *testing.T) {
	k := newTask(t)
	r, w := pipePair(t, k)
	ep := k.FD(k.Do(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC))
	event := k.Put([]byte{unix.EPOLLIN, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	want(t, "epoll_ctl", k.Do(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, r, event), 0)
	wantErr(t, "epoll_ctl of the monitor's", k.Do(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_ADD, secret(t, k), event), unix.EBADF)
	buf := k.Map(1)
	want(t, "epoll_wait", k.Do(unix.SYS_EPOLL_WAIT, ep, buf, 10, 0), 0)
	unix.Write(w, []byte("x"))
	want(t, "epoll_wait", k.Do(unix.SYS_EPOLL_WAIT, ep, buf, 10, -1), 1)
	if got := k.Read(buf, 12); le64(got[4:]) != 0x0807060504030201 {
		t.Errorf("event %x", got)
	}
	for _, c := range [][]any{{ep, buf, 0, 0}, {ep, buf, -1, 0}, {ep, buf + page, 1, 0}, {r, buf, 1, 0}, {ep, buf, 1 << 30, 0}, {-1, buf, 1, 0}} {
		same(t, k, unix.SYS_EPOLL_WAIT, c...)
	}
	same(t, k, unix.SYS_EPOLL_PWAIT2, ep, buf, 1, k.Put(timespec(-1)), 0, 0)
	same(t, k, unix.SYS_EPOLL_PWAIT, ep, buf, 1, 0, buf, 7)
	same(t, k, unix.SYS_EPOLL_CTL, ep, 77, r, event)
	want(t, "EPOLL_CTL_DEL", k.Do(unix.SYS_EPOLL_CTL, ep, unix.EPOLL_CTL_DEL, r, gva(0)), 0)
}

func TestSignalfd(t *testing.T) {
	k := newTask(t)
	mask := k.Map(1)
	const usr1 = unix.SIGUSR1
	k.Write(mask, []byte{1 << (usr1 - 1) & 0xff, 1 << (usr1 - 9) & 0xff, 0, 0, 0, 0, 0, 0})
	b := make([]byte, 8)
	put64(b, 1<<(usr1-1)|1<<(unix.SIGSTKFLT-1))
	k.Write(mask, b)
	k.Mask = 1 << (usr1 - 1)
	fd := k.FD(k.Do(unix.SYS_SIGNALFD4, -1, mask, 8, unix.SFD_CLOEXEC))
	want(t, "tgkill", k.Do(unix.SYS_TGKILL, k.Pid(), k.Tid(), int(usr1)), 0)
	buf := k.Map(1)
	kicking(k, 1) // the kick is not read
	want(t, "read", k.Do(unix.SYS_READ, fd, buf, 1024), 128)
	if got := le32(k.Read(buf, 4)); got != uint32(usr1) {
		t.Errorf("read signal %d", got)
	}
	want(t, "signalfd", k.Do(unix.SYS_SIGNALFD, fd, mask, 8), uint64(fd))
	same(t, k, unix.SYS_SIGNALFD, -1, mask, 7)
	same(t, k, unix.SYS_SIGNALFD, -1, mask+page, 8)
	same(t, k, unix.SYS_SIGNALFD, -1, gva(0), 8)
	wantErr(t, "signalfd of the monitor's", k.Do(unix.SYS_SIGNALFD, secret(t, k), mask, 8), unix.EBADF)
}
