// Package sys serves the hypercalls that need more than their row says, except
// those about memory, threads and signals, which the monitor itself serves.
//
// A handler runs on the vCPU thread that made the call. When Task.Sleep was
// interrupted its result goes back at once; nothing before it may have had an
// effect that a second try would repeat. Host calls of the monitor's own go
// through raw (never sleeps) or through slow and package unix (may sleep, but no
// signal ends it).
package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
)

// Handler serves one hypercall.
type Handler = hypercall.Handler

type (
	task = hypercall.Task
	args = *[6]uint64
)

// entry registers a handler for a number.
type entry struct {
	nr int
	fn Handler
}

var families = [...][]entry{
	fdCalls, openCalls, statCalls, linkCalls, infoCalls, limitCalls,
	timeCalls, pollCalls, epollCalls, futexCalls, socketCalls, ioctlCalls,
	direntCalls, changeCalls, ipcCalls, mountCalls, processCalls, prctlCalls, signalCalls, keyCalls, aioCalls, madviseCalls, landlockCalls,
}

// Register calls add for each number that this package serves.
func Register(add func(nr int, h Handler)) {
	for _, f := range families {
		for _, e := range f {
			add(e.nr, e.fn)
		}
	}
}

// fail is -errno, or 0 for none.
func fail(e unix.Errno) uint64 { return hypercall.Err(e) }

// pass serves a call by the types of its row.
func pass(t task, nr int, a args) uint64 {
	return hypercall.PassThrough(t, hypercall.Lookup(nr), a)
}

// sleep makes an interruptible host call.
func sleep(t task, nr, a0, a1, a2, a3, a4, a5 uintptr) uint64 {
	return hypercall.Interrupted(t.Sleep(nr, a0, a1, a2, a3, a4, a5))
}

// interrupted tells whether a host call was ended by a signal or kick before it
// had an effect.
func interrupted(r uintptr) bool {
	switch hypercall.Errno(uint64(r)) {
	case unix.EINTR, hypercall.ERESTARTSYS, hypercall.ERESTARTNOINTR:
		return true
	}
	return false
}

// again makes fn the continuation of an interrupted call: it runs unless a
// handler of the payload's does, which makes the call EINTR.
func again(t task, fn func(task) uint64) uint64 {
	t.SetRestart(fn)
	return fail(hypercall.ERESTART_RESTARTBLOCK)
}

// raw makes a host call that never sleeps.
func raw(nr, a0, a1, a2, a3, a4, a5 uintptr) uint64 {
	return uint64(hostcall.Raw(nr, a0, a1, a2, a3, a4, a5))
}

// slow makes a host call of the monitor's own that may sleep and that no signal
// ends.
func slow(nr, a0, a1, a2, a3, a4, a5 uintptr) (uintptr, unix.Errno) {
	r, _, e := unix.Syscall6(nr, a0, a1, a2, a3, a4, a5)
	return r, e
}

func closeFD(fd int) { slow(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0) }
