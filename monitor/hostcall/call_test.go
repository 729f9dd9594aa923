package hostcall

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper runs a call in a payload thread of its own, with a way to know that it sleeps.
type sleeper struct {
	t    *testing.T
	tid  int
	done chan sleepResult
}

type sleepResult struct {
	result int
	info   [128]byte
	taken  bool
	more   []int // results of what came after, in the same thread
}

// sleepIn starts call in a thread and returns once the thread sleeps in system call nr.
func sleepIn(t *testing.T, nr int, call func(b *Block) uintptr, more ...func(b *Block) uintptr) *sleeper {
	t.Helper()
	s := &sleeper{t: t, done: make(chan sleepResult, 1)}
	tid := make(chan int, 1)
	go func() {
		runtime.LockOSThread()
		b, err := New()
		if err != nil {
			t.Error(err)
		}
		defer b.Free()
		tid <- unix.Gettid()
		r := sleepResult{result: num(call(b))}
		r.info, r.taken = b.Signal()
		for _, f := range more {
			r.more = append(r.more, num(f(b)))
		}
		s.done <- r
	}()
	s.tid = <-tid
	waitAsleep(t, os.Getpid(), s.tid, nr)
	return s
}

// waitAsleep returns when a thread sleeps in a system call. There is no event for that; this looks until it is so.
func waitAsleep(t testing.TB, pid, tid, nr int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/task/%d/", pid, tid)
	for {
		call, err := os.ReadFile(dir + "syscall")
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile(dir + "status")
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(statusField(string(status), "State"), "Z") {
			t.Fatalf("thread %d has ended", tid)
		}
		if strings.HasPrefix(string(call), fmt.Sprint(nr, " ")) && strings.HasPrefix(statusField(string(status), "State"), "S") {
			return
		}
		runtime.Gosched()
	}
}

func (s *sleeper) wait() sleepResult { return <-s.done }

func pipe(t testing.TB) (r, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func TestPlainResults(t *testing.T) {
	b := payload(t)
	if r := b.Call(^uint64(0), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != os.Getpid() {
		t.Errorf("getpid: %d", num(r))
	}
	if r := b.Call(quiet, unix.SYS_CLOSE, ^uintptr(0), 0, 0, 0, 0, 0); num(r) != -int(unix.EBADF) {
		t.Errorf("close: %d", num(r))
	}
	if r := Raw(unix.SYS_CLOSE, ^uintptr(0), 0, 0, 0, 0, 0); num(r) != -int(unix.EBADF) {
		t.Errorf("close: %d", num(r))
	}
	// All six arguments arrive.
	addr := b.Call(quiet, unix.SYS_MMAP, 0, 8192, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)
	if e := errno(addr); e != 0 {
		t.Fatal(e)
	}
	if r := Raw(unix.SYS_MUNMAP, addr, 8192, 0, 0, 0, 0); r != 0 {
		t.Errorf("munmap: %d", num(r))
	}
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Ftruncate(fd, 8192)
	addr = Raw(unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_SHARED, uintptr(fd), 4096)
	if e := errno(addr); e != 0 {
		t.Fatal(e)
	}
	Raw(unix.SYS_MUNMAP, addr, 4096, 0, 0, 0, 0)
	if _, ok := b.Signal(); ok || b.Taken() {
		t.Error("a signal from nowhere")
	}
}

// The signal is pending before the call: the call does not begin.
func TestSignalBefore(t *testing.T) {
	b := payload(t)
	for _, sig := range []int{int(unix.SIGUSR1), int(unix.SIGCHLD), int(unix.SIGURG), int(unix.SIGSTKFLT), 32, 33, 34, 64} {
		if e := send(os.Getpid(), unix.Gettid(), sig, 77); e != 0 {
			t.Fatal(e)
		}
		if r := b.Call(^uint64(0)&^(1<<(sig-1)), unix.SYS_EXIT_GROUP, 9, 0, 0, 0, 0, 0); num(r) != -513 {
			t.Fatal(num(r))
		}
		if !b.Taken() {
			t.Error("not taken")
		}
		info, ok := b.Signal()
		if h := head(&info); !ok || int(h.signo) != sig || h.code != siQueue || h.value != 77 || h.uid != 7 || h.pid != int32(os.Getpid()) {
			t.Errorf("%v %s", ok, describe(&info))
		}
		if _, ok := b.Signal(); ok {
			t.Error("twice")
		}
	}
}

// Blocked signals stay where they are, and Dequeue gets them lowest number first, those of one number in their order.
func TestBlockedStayPending(t *testing.T) {
	b := payload(t)
	for _, s := range [][2]int{{50, 1}, {40, 2}, {50, 3}, {12, 4}} {
		if e := send(os.Getpid(), unix.Gettid(), s[0], uint64(s[1])); e != 0 {
			t.Fatal(e)
		}
	}
	if r := b.Call(^uint64(0), unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != os.Getpid() {
		t.Fatal(num(r))
	}
	for _, want := range [][2]int{{12, 4}, {40, 2}, {50, 1}, {50, 3}} {
		info, ok := Dequeue(^uint64(0))
		if h := head(&info); !ok || int(h.signo) != want[0] || int(h.value) != want[1] {
			t.Fatalf("%v %s, want %v", ok, describe(&info), want)
		}
	}
	if _, ok := Dequeue(^uint64(0)); ok {
		t.Error("one more")
	}
}

// Two signals, one call: one is taken, the other waits.
func TestOneSignalACall(t *testing.T) {
	b := payload(t)
	send(os.Getpid(), unix.Gettid(), 40, 1)
	send(os.Getpid(), unix.Gettid(), 41, 2)
	for want := uint64(1); want <= 2; want++ {
		if r := b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != -513 {
			t.Fatal(num(r))
		}
		if info, ok := b.Signal(); !ok || head(&info).value != want {
			t.Fatal(ok, describe(&info))
		}
	}
	if r := b.Call(quiet, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0); num(r) != os.Getpid() {
		t.Fatal(num(r))
	}
}

// Every kind of sleep says how the kernel would have it go on.
func TestSignalDuring(t *testing.T) {
	r, w := pipe(t)
	full := make([]byte, 1<<20)
	var word uint32
	long := unix.Timespec{Sec: 1000}
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epfd)
	var events [1]unix.EpollEvent
	var buf [8]byte
	for _, c := range []struct {
		name string
		nr   int
		call func(b *Block) uintptr
		want int
	}{
		{"read", unix.SYS_READ, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_READ, uintptr(r), address(&buf), 8, 0, 0, 0)
		}, -512},
		{"futex", unix.SYS_FUTEX, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_FUTEX, address(&word), 0, 0, 0, 0, 0)
		}, -512},
		{"wait4", unix.SYS_WAIT4, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_WAIT4, uintptr(child(t)), 0, 0, 0, 0, 0)
		}, -512},
		{"futex with a timeout", unix.SYS_FUTEX, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_FUTEX, address(&word), 0, 0, address(&long), 0, 0)
		}, -int(unix.EINTR)},
		{"nanosleep", unix.SYS_NANOSLEEP, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_NANOSLEEP, address(&long), 0, 0, 0, 0, 0)
		}, -int(unix.EINTR)},
		{"poll", unix.SYS_POLL, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_POLL, 0, 0, 1000000, 0, 0, 0)
		}, -int(unix.EINTR)},
		{"pause", unix.SYS_PAUSE, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_PAUSE, 0, 0, 0, 0, 0, 0)
		}, -int(unix.EINTR)},
		{"epoll_wait", unix.SYS_EPOLL_WAIT, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_EPOLL_WAIT, uintptr(epfd), address(&events[0]), 1, ^uintptr(0), 0, 0)
		}, -int(unix.EINTR)},
		{"write, in part", unix.SYS_WRITE, func(b *Block) uintptr {
			return b.Call(quiet, unix.SYS_WRITE, uintptr(w), address(&full[0]), uintptr(len(full)), 0, 0, 0)
		}, 1 << 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sleepIn(t, c.nr, c.call)
			if e := send(os.Getpid(), s.tid, int(unix.SIGUSR2), 5); e != 0 {
				t.Fatal(e)
			}
			got := s.wait()
			if h := head(&got.info); got.result != c.want || !got.taken || h.signo != int32(unix.SIGUSR2) || h.value != 5 {
				t.Errorf("result %d, want %d; signal %v %s", got.result, c.want, got.taken, describe(&got.info))
			}
		})
	}
}

// child starts a process that lives until the test ends.
func child(t *testing.T) int {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return 0
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

// A temporary mask of the call itself works as ever, and the thread has its own again afterwards.
func TestTemporaryMask(t *testing.T) {
	closed := ^uint64(0)
	for _, c := range []struct {
		name string
		nr   int
		call func(b *Block, mask *uint64) uintptr
	}{
		{"rt_sigsuspend", unix.SYS_RT_SIGSUSPEND, func(b *Block, mask *uint64) uintptr {
			return b.Call(closed, unix.SYS_RT_SIGSUSPEND, address(mask), 8, 0, 0, 0, 0)
		}},
		{"ppoll", unix.SYS_PPOLL, func(b *Block, mask *uint64) uintptr {
			return b.Call(closed, unix.SYS_PPOLL, 0, 0, 0, address(mask), 8, 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := ^bit(unix.SIGUSR1)
			s := sleepIn(t, c.nr, func(b *Block) uintptr { return c.call(b, &open) },
				func(b *Block) uintptr { return b.Call(closed, unix.SYS_GETPID, 0, 0, 0, 0, 0, 0) },
				func(b *Block) uintptr { return uintptr(setMask(threadMask)) })
			send(os.Getpid(), s.tid, int(unix.SIGUSR2), 1) // blocked
			send(os.Getpid(), s.tid, int(unix.SIGUSR1), 2)
			got := s.wait()
			if got.result != -int(unix.EINTR) || !got.taken || head(&got.info).value != 2 {
				t.Errorf("result %d, signal %v %s", got.result, got.taken, describe(&got.info))
			}
			if got.more[0] != os.Getpid() {
				t.Errorf("next call: %d", got.more[0])
			}
			if uint64(got.more[1])&^unblockable != threadMask&^unblockable {
				t.Errorf("mask afterwards: %x", got.more[1])
			}
		})
	}
}

// The handler leaves without rt_sigreturn, so the kernel still has the restart block: the sleep goes on where it was,
// not from the start and not for ever.
func TestRestartBlock(t *testing.T) {
	const span = 300 * time.Millisecond
	sleep := unix.NsecToTimespec(int64(span))
	start := time.Now()
	s := sleepIn(t, unix.SYS_NANOSLEEP,
		func(b *Block) uintptr { return b.Call(quiet, unix.SYS_NANOSLEEP, address(&sleep), 0, 0, 0, 0, 0) },
		func(b *Block) uintptr { return b.Call(quiet, unix.SYS_RESTART_SYSCALL, 0, 0, 0, 0, 0, 0) })
	Kick(s.tid)
	got := s.wait()
	if got.result != -int(unix.EINTR) || !IsKick(&got.info) {
		t.Fatalf("result %d, signal %s", got.result, describe(&got.info))
	}
	if took := time.Since(start); got.more[0] != 0 || took < span {
		t.Errorf("restart_syscall: %d after %v of %v", got.more[0], took, span)
	}
}

// A stop and SIGCONT in the middle of a sleep is nothing to the call, as natively.
func TestStoppedSleep(t *testing.T) {
	cmd := command(t, withEntry(t), "sleep", nil)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	waitAsleep(t, pid, pid, unix.SYS_POLL)
	var ws unix.WaitStatus
	unix.Kill(pid, unix.SIGSTOP)
	if _, err := unix.Wait4(pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatal(err, ws)
	}
	unix.Kill(pid, unix.SIGCONT)
	waitAsleep(t, pid, pid, unix.SYS_RESTART_SYSCALL)
	send(pid, pid, 40, 6)
	text := make([]byte, 100)
	n, _ := out.Read(text)
	if got := strings.TrimSpace(string(text[:n])); got != "[-4,40,6]" {
		t.Errorf("got %s", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func init() {
	roles["sleep"] = func() {
		mustInit()
		b, err := New()
		must(err)
		r := b.Call(bit(unix.SIGCONT), unix.SYS_POLL, 0, 0, 1000000, 0, 0, 0)
		info, _ := b.Signal()
		reply([]int{num(r), signo(&info), int(head(&info).value)})
	}
}

// No thread of the monitor is ever sent SIGURG by the runtime: one that stays pending would later pass for the
// payload's.
func TestNoPreemptionSignals(t *testing.T) {
	old := runtime.GOMAXPROCS(8)
	defer runtime.GOMAXPROCS(old)
	collected := make(chan struct{})
	go func() {
		for range 20 {
			runtime.GC()
		}
		close(collected)
	}()
	spin := make(chan struct{})
	for range 4 {
		go func() { // what sysmon and the collector would like to preempt
			x := uint64(1)
			for {
				for range 1 << 20 {
					x = x*6364136223846793005 + 1
				}
				select {
				case spin <- struct{}{}:
					return
				default:
				}
			}
		}()
	}
	b := payload(t)
	for range 2000 {
		if r := b.Call(^bit(unix.SIGURG), unix.SYS_SCHED_YIELD, 0, 0, 0, 0, 0, 0); r != 0 {
			info, _ := b.Signal()
			t.Fatal(num(r), describe(&info))
		}
	}
	<-collected
	for range 4 {
		<-spin
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, field := range []string{"SigPnd", "ShdPnd"} {
			set, err := strconv.ParseUint(statusField(string(text), field), 16, 64)
			if err != nil || set&bit(unix.SIGURG) != 0 {
				t.Errorf("%s: %s is %x, %v", task, field, set, err)
			}
		}
	}
}
