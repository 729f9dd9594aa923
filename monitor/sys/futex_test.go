package sys

import (
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
)

const (
	opWait, opWake, opRequeue, opCmpRequeue, opWakeOp = 0, 1, 3, 4, 5
	opLockPI, opUnlockPI, opTrylockPI, opWaitBitset   = 6, 7, 8, 9
	private                                           = 128
)

// waiter runs fn as a second thread of k's process and returns a channel for
// the result, once the thread sleeps in the host.
func waiter(t *testing.T, k *faketask.Task, fn func(k2 *faketask.Task) uint64) chan uint64 {
	t.Helper()
	result := make(chan uint64, 1)
	tid := make(chan int)
	go func() {
		k2 := faketask.New(t, k.Proc)
		k2.Handlers = handlers
		tid <- k2.Tid()
		result <- fn(k2)
	}()
	waitAsleep(<-tid, nil)
	return result
}

func TestFutexWake(t *testing.T) {
	k := newTask(t)
	word := k.Map(1)
	for name, op := range map[string]int{"private": opWait | private, "shared": opWait, "bitset": opWaitBitset | private} {
		got := waiter(t, k, func(k2 *faketask.Task) uint64 { return k2.Do(unix.SYS_FUTEX, word, op, 0, 0, 0, ^uint32(0)) })
		want(t, name+": wake", k.Do(unix.SYS_FUTEX, word, opWake|op&private, 1), 1)
		want(t, name+": wait", <-got, 0)
	}
	// Requeue from one word to another, and wake there.
	got := waiter(t, k, func(k2 *faketask.Task) uint64 { return k2.Do(unix.SYS_FUTEX, word, opWait|private, 0, 0) })
	want(t, "cmp_requeue", k.Do(unix.SYS_FUTEX, word, opCmpRequeue|private, 0, 1, word+8, 0), 1)
	want(t, "wake the first", k.Do(unix.SYS_FUTEX, word, opWake|private, 1), 0)
	want(t, "wake_op", k.Do(unix.SYS_FUTEX, word, opWakeOp|private, 1, 1, word+8, 0), 1)
	want(t, "wait", <-got, 0)

	v := make([]byte, 2*sizeWaitv)
	put64(v[8:], uint64(word))
	put64(v[sizeWaitv+8:], uint64(word+16))
	put32(v[16:], 2|128) // 32 bits, private
	put32(v[sizeWaitv+16:], 2|128)
	vec := k.Put(v)
	got = waiter(t, k, func(k2 *faketask.Task) uint64 { return k2.Do(unix.SYS_FUTEX_WAITV, vec, 2, 0, 0, 0) })
	want(t, "wake of the second", k.Do(unix.SYS_FUTEX, word+16, opWake|private, 1), 1)
	want(t, "futex_waitv", <-got, 1)
}

func TestFutexErrors(t *testing.T) {
	k := newTask(t)
	word := k.Map(1)
	ts := k.Put(timespec(-1))
	for _, c := range [][]any{
		{word, opWait, 1, 0}, {word + 1, opWait, 0, 0}, {word + page, opWait, 0, 0}, {gva(0), opWait, 0, 0}, {word, 99, 0, 0},
		{word, opWait, 0, ts}, {word, opWait, 0, word + page}, {word, opWaitBitset, 0, 0, 0, 0}, {word, opWaitBitset, 0, ts, 0, 1},
		{word, 2, 0, 0}, {word, opCmpRequeue, 0, 1, word + 8, 1}, {word, opCmpRequeue, 0, 1, word + page, 0},
		{word, opRequeue, 0, 1, gva(3), 0}, {word + page, opWake, 1}, {word, opUnlockPI}, {word, opWakeOp, 0, 0, word + page, 0},
	} {
		same(t, k, unix.SYS_FUTEX, c...)
	}
	same(t, k, unix.SYS_FUTEX_WAITV, word, 0, 0, 0, 0)
	same(t, k, unix.SYS_FUTEX_WAITV, word+page, 1, 0, 0, 0)
	same(t, k, unix.SYS_FUTEX_WAITV, word, 129, 0, 0, 0)
	same(t, k, unix.SYS_FUTEX_WAITV, word, 1, 7, 0, 0)
}

func TestFutexPI(t *testing.T) {
	k := newTask(t)
	word := k.Map(1)
	want(t, "lock", k.Do(unix.SYS_FUTEX, word, opLockPI|private, 0, 0), 0)
	if got := le32(k.Read(word, 4)); got != uint32(k.Tid()) {
		t.Errorf("owner %d, want %d", got, k.Tid())
	}
	same(t, k, unix.SYS_FUTEX, word, opLockPI|private, 0, 0) // EDEADLK
	got := waiter(t, k, func(k2 *faketask.Task) uint64 {
		r := k2.Do(unix.SYS_FUTEX, word, opLockPI|private, 0, 0)
		if r == 0 {
			r = k2.Do(unix.SYS_FUTEX, word, opUnlockPI|private, 0, 0)
		}
		return r
	})
	want(t, "unlock", k.Do(unix.SYS_FUTEX, word, opUnlockPI|private, 0, 0), 0)
	want(t, "lock by another", <-got, 0)

	// A kick restarts the call whatever handlers there are.
	want(t, "lock", k.Do(unix.SYS_FUTEX, word, opLockPI|private, 0, 0), 0)
	code := make(chan uint64, 1)
	locked := waiter(t, k, func(k2 *faketask.Task) uint64 {
		_, stop := kickAsleep(t, k2, 1)
		defer stop()
		code <- k2.Once(unix.SYS_FUTEX, &[6]uint64{uint64(word), opLockPI | private})
		return k2.Do(unix.SYS_FUTEX, word, opTrylockPI|private)
	})
	wantErr(t, "interrupted lock", <-code, hypercall.ERESTARTNOINTR)
	wantErr(t, "trylock", <-locked, unix.EWOULDBLOCK)
}
