package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var futexCalls = []entry{
	{unix.SYS_FUTEX, futex},
	{unix.SYS_FUTEX_WAITV, futexWaitv},
	{unix.SYS_FUTEX_REQUEUE, futexRequeue},
}

// futexOp is how the arguments of a futex operation are to be seen.
type futexOp uint8

const (
	futexSleeps   futexOp = 1 << iota // it may wait
	futexRelative                     // … for a relative timeout
	futexTimeout                      // argument 3 is a timeout, not a count
	futexSecond                       // argument 4 is a second futex
	futexNoIntr                       // handlers do not make it EINTR (ERESTARTNOINTR)
)

// futexOps is indexed by operation.
var futexOps = [...]futexOp{
	0:  futexSleeps | futexTimeout | futexRelative,             // WAIT
	1:  0,                                                      // WAKE
	2:  0,                                                      // FD, gone
	3:  futexSecond,                                            // REQUEUE
	4:  futexSecond,                                            // CMP_REQUEUE
	5:  futexSecond,                                            // WAKE_OP
	6:  futexSleeps | futexTimeout | futexNoIntr,               // LOCK_PI
	7:  0,                                                      // UNLOCK_PI
	8:  0,                                                      // TRYLOCK_PI
	9:  futexSleeps | futexTimeout,                             // WAIT_BITSET
	10: 0,                                                      // WAKE_BITSET
	11: futexSleeps | futexTimeout | futexSecond | futexNoIntr, // WAIT_REQUEUE_PI
	12: futexSecond,                                            // CMP_REQUEUE_PI
	13: futexSleeps | futexTimeout | futexNoIntr,               // LOCK_PI2
}

const (
	futexFlags = 128 | 256 // FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
	sizeFutex  = 4
)

// futex passes every operation: threads are host threads and memory is the
// host's, so the queues are the host's too, between processes as well.
func futex(t task, a args) uint64 {
	op := uint32(a[1]) &^ futexFlags
	if op >= uint32(len(futexOps)) {
		return fail(unix.ENOSYS)
	}
	kind := futexOps[op]
	if kind&futexRelative != 0 && a[3] != 0 {
		until, e := hypercall.Deadline(a[3])
		if e != 0 {
			return fail(e)
		}
		return futexWaitFor(t, *a, until)
	}
	h := [6]uintptr{hypercall.Pointer(a[0], sizeFutex), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), 0, uintptr(a[5])}
	if kind&futexTimeout != 0 {
		h[3] = hypercall.PointerOrNil(a[3], sizeTimespec)
	}
	if kind&futexSecond != 0 {
		h[4] = hypercall.Pointer(a[4], sizeFutex)
	}
	if kind&futexSleeps == 0 {
		return raw(unix.SYS_FUTEX, h[0], h[1], h[2], h[3], h[4], h[5])
	}
	r := sleep(t, unix.SYS_FUTEX, h[0], h[1], h[2], h[3], h[4], h[5])
	if kind&futexNoIntr != 0 && r == fail(hypercall.ERESTARTSYS) {
		return fail(hypercall.ERESTARTNOINTR)
	}
	return r
}

// futexWaitFor is FUTEX_WAIT with a relative timeout.
func futexWaitFor(t task, a [6]uint64, until hypercall.Until) uint64 {
	w := wait{until: until}
	r := t.Sleep(unix.SYS_FUTEX, hypercall.Pointer(a[0], sizeFutex), uintptr(a[1]), uintptr(a[2]), w.timespec(t), 0, 0)
	if interrupted(r) {
		return again(t, func(t task) uint64 { return futexWaitFor(t, a, until) })
	}
	return uint64(r)
}

const (
	sizeWaitv = 24 // struct futex_waitv: val, uaddr, flags, reserved
	maxWaitv  = 128
)

func futexWaitv(t task, a args) uint64 {
	h := hypercall.Translate(t, hypercall.Lookup(unix.SYS_FUTEX_WAITV), a)
	if n := uint32(a[1]); n > 0 && n <= maxWaitv {
		h[0] = waiters(t, a[0], int(n), h[0])
	}
	return sleep(t, unix.SYS_FUTEX_WAITV, h[0], h[1], h[2], h[3], h[4], 0)
}

func futexRequeue(t task, a args) uint64 {
	h := hypercall.Translate(t, hypercall.Lookup(unix.SYS_FUTEX_REQUEUE), a)
	return raw(unix.SYS_FUTEX_REQUEUE, waiters(t, a[0], 2, h[0]), h[1], h[2], h[3], 0, 0)
}

// waiters translates an array of futex_waitv; bad is what to pass if it can't
// be read.
func waiters(t task, gva uint64, n int, bad uintptr) uintptr {
	m := t.Scratch().Alloc(n * sizeWaitv)
	b := m.Bytes()
	if usermem.CopyIn(b, gva) != 0 {
		return bad
	}
	for ; len(b) > 0; b = b[sizeWaitv:] {
		put64(b[8:], uint64(hypercall.Pointer(le64(b[8:]), 1)))
	}
	return m.Host()
}
