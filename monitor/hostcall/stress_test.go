package hostcall

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// collectAlways keeps the garbage collector going until the function that it returns is called, which tells how often
// it ran.
func collectAlways() (stop func() uint32) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	old := debug.SetGCPercent(1)
	var quit atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		var keep [64][]*int
		for i := 0; !quit.Load(); i++ {
			s := make([]*int, 1024)
			for j := range s {
				s[j] = new(int)
			}
			keep[i%len(keep)] = s
		}
	}()
	return func() uint32 {
		quit.Store(true)
		<-done
		debug.SetGCPercent(old)
		runtime.ReadMemStats(&after)
		return after.NumGC - before.NumGC
	}
}

// A hail of queued signals from other processes, on threads that do calls of all kinds, while the garbage collector
// runs: each signal arrives exactly once, with its siginfo, in order; and no result is lost.
const (
	stressThreads = 6
	stressSignals = 2000 // each thread
	stressBytes   = 10000
	stressFirst   = 36 // signals used: these
	stressKinds   = 8
	stressMask    = ^uint64((1<<stressKinds - 1) << (stressFirst - 1))
)

// hail is what a sender is told.
type hail struct {
	Pid  int
	Tids []int
}

func init() {
	roles["hail"] = func() {
		var h hail
		params(&h)
		next := make([]uint64, stressKinds)
		x := uint32(1)
		for i := range stressSignals {
			kind := i % stressKinds
			for _, tid := range h.Tids {
				for e := unix.EAGAIN; e == unix.EAGAIN; { // the queue's limit
					e = send(h.Pid, tid, stressFirst+kind, next[kind])
					if e != 0 && e != unix.EAGAIN {
						fail(e)
					}
				}
			}
			next[kind]++
			x = x*1664525 + 1013904223
			for n := x >> 17; n > 0; n-- { // up to some microseconds
				runtime.KeepAlive(n)
			}
		}
	}
}

// bombed is a thread under the hail.
type bombed struct {
	b       *Block
	r, w    int
	next    [stressKinds]uint64 // value expected
	signals int
	reads   byte // next byte expected
	results map[string]int
	vars    struct { // what the kernel reads and writes
		buf   [7]byte
		word  uint32
		short unix.Timespec
	}
}

func (s *bombed) take(info *[128]byte) error {
	if IsKick(info) {
		return nil
	}
	h := head(info)
	kind := int(h.signo) - stressFirst
	if kind < 0 || kind >= stressKinds || h.code != siQueue || h.uid != 7 || h.value != s.next[kind] {
		return fmt.Errorf("signal %s, want values %v", describe(info), s.next)
	}
	s.next[kind]++
	s.signals++
	return nil
}

// call makes a call and takes its signal, if there is one.
func (s *bombed) call(name string, nr, a0, a1, a2, a3 uintptr) (int, error) {
	r := num(s.b.Call(stressMask, nr, a0, a1, a2, a3, 0, 0))
	info, ok := s.b.Signal()
	if (r == -513 || r == -512 || r == -int(unix.EINTR)) && !ok {
		return r, fmt.Errorf("%s: %d without a signal", name, r)
	}
	kind := fmt.Sprint(name, " ", min(r, 0))
	if ok {
		kind += ", signal"
	}
	s.results[kind]++
	if ok {
		return r, s.take(&info)
	}
	return r, nil
}

func (s *bombed) run() error {
	Raw(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 1, 0, 0, 0, 0)
	v := &s.vars
	v.short.Nsec = 1000
	got := 0
	for got < stressBytes || s.signals < stressSignals {
		if pid, err := s.call("getpid", unix.SYS_GETPID, 0, 0, 0, 0); err != nil || pid != os.Getpid() && pid != -513 {
			return fmt.Errorf("getpid: %d, %v", pid, err)
		}
		if r, err := s.call("nanosleep", unix.SYS_NANOSLEEP, address(&v.short), 0, 0, 0); err != nil || r > 0 || r == -512 {
			return fmt.Errorf("nanosleep: %d, %v", r, err)
		}
		r, err := s.call("futex", unix.SYS_FUTEX, address(&v.word), 0, 0, address(&v.short))
		if err != nil || r != -int(unix.ETIMEDOUT) && r != -int(unix.EINTR) && r != -513 {
			return fmt.Errorf("futex: %d, %v", r, err)
		}
		if got == stressBytes {
			continue
		}
		n, err := s.call("read", unix.SYS_READ, uintptr(s.r), address(&v.buf), uintptr(len(v.buf)), 0)
		if err != nil || n <= 0 && n != -512 && n != -513 {
			return fmt.Errorf("read: %d, %v", n, err)
		}
		for _, c := range v.buf[:max(n, 0)] {
			if c != s.reads {
				return fmt.Errorf("byte %d is %d, want %d", got, c, s.reads)
			}
			s.reads++
			got++
		}
	}
	return nil
}

func TestHail(t *testing.T) {
	stop := collectAlways()
	h := hail{Pid: os.Getpid()}
	tids, results := make(chan int), make(chan error)
	total := make(chan map[string]int, stressThreads)
	for range stressThreads {
		r, w := pipe(t)
		go func() {
			runtime.LockOSThread()
			b, err := New()
			if err != nil {
				panic(err)
			}
			defer b.Free()
			s := &bombed{b: b, r: r, w: w, results: map[string]int{}}
			tids <- unix.Gettid()
			err = s.run()
			total <- s.results
			results <- err
		}()
		go func() {
			for i := range stressBytes {
				unix.Write(w, []byte{byte(i)})
			}
		}()
	}
	for range stressThreads {
		h.Tids = append(h.Tids, <-tids)
	}
	sender := command(t, withEntry(t), "hail", h)
	if err := sender.Start(); err != nil {
		t.Fatal(err)
	}
	sum := map[string]int{}
	for range stressThreads {
		for k, n := range <-total {
			sum[k] += n
		}
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := sender.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d collections; %v", stop(), sum)
}

// Many threads kick many threads. Each kicked thread sees that its counter has moved whenever it was kicked: no kick is
// lost.
func TestKicks(t *testing.T) {
	const targets, kickers, rounds = 8, 8, 500
	stop := collectAlways()
	type target struct {
		tid     int
		sent    atomic.Int64 // counted before the kick
		seen    int64
		blocked bool
		c       byte
	}
	list := make([]*target, targets)
	ready, done := make(chan struct{}), make(chan error, targets)
	for i := range list {
		r, _ := pipe(t)
		x := &target{blocked: i%2 == 0}
		list[i] = x
		go func() {
			runtime.LockOSThread()
			b, err := New()
			if err != nil {
				panic(err)
			}
			defer b.Free()
			x.tid = unix.Gettid()
			ready <- struct{}{}
			mask := quiet
			if x.blocked {
				mask = ^uint64(0) // kicks come through any mask
			}
			for x.seen < kickers*rounds {
				r := num(b.Call(mask, unix.SYS_READ, uintptr(r), address(&x.c), 1, 0, 0, 0)) // nobody ever writes
				info, ok := b.Signal()
				if !ok || !IsKick(&info) || r != -512 && r != -513 {
					done <- fmt.Errorf("read: %d, signal %v %s", r, ok, describe(&info))
					return
				}
				x.seen = x.sent.Load()
			}
			done <- nil
		}()
		<-ready
	}
	for range kickers {
		go func() {
			for range rounds {
				for _, x := range list {
					x.sent.Add(1)
					Kick(x.tid)
				}
			}
		}()
	}
	for range list {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	stop()
}
