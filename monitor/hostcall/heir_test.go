package hostcall

import (
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func timerSlack() int {
	n, _ := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	return n
}

// TestHeir: a thread made by Take is its caller's child, whatever the collector does meanwhile. The timer slack stands for all that
// clone(2) copies.
func TestHeir(t *testing.T) {
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	var parents sync.WaitGroup
	for parent := range 4 {
		parents.Go(func() {
			runtime.LockOSThread() // ends with the goroutine: its slack is changed
			slack := 1_000_000 + parent
			if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
				t.Error(err)
			}
			for range 100 {
				oneHeir(t, slack)
			}
		})
	}
	parents.Wait()
	close(stop)
	collector.Wait()
}

func oneHeir(t *testing.T, slack int) {
	type seen struct {
		ok         bool
		slack, tid int
		mask       uint64
		sum        int
	}
	got := make(chan seen)
	h := new(Heir)
	go func() {
		runtime.LockOSThread()
		s := seen{ok: h.Offer(), slack: timerSlack(), tid: unix.Gettid(), mask: setMask(threadMask)}
		s.sum = deep(1000) // grows the stack
		got <- s
	}()
	if e := h.Take(); e != 0 {
		t.Errorf("Take: %v", e)
	}
	s := <-got
	if !s.ok || s.slack != slack || s.tid != int(h.result) || s.mask&^unblockable != threadMask&^unblockable || s.sum != 1000 {
		t.Errorf("the new thread is %+v; want slack %d, tid %d, mask %#x", s, slack, h.result, threadMask)
	}
}

func deep(n int) int {
	var room [128]byte
	if n == 0 {
		return int(room[n])
	}
	return 1 + deep(n-1)
}
