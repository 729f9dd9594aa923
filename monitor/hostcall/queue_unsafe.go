package hostcall

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dequeue takes a signal of set (bit sig-1) that is pending for the calling thread or the process, in the kernel's
// order, and never waits.
func Dequeue(set uint64) (info [128]byte, ok bool) {
	if info, ok = dequeue(set); !ok {
		return info, false
	}
	unwrap(&info)
	if sig := signo(&info); isFault(uintptr(sig)) && atomic.LoadUint32(&closedThreads) != 0 {
		if b := findBlock(int32(gettid())); b != nil {
			b.took(sig)
		}
	}
	return info, true
}

// dequeue is Dequeue without what goes with a SIGSEGV or SIGBUS.
func dequeue(set uint64) (info [128]byte, ok bool) {
	var zero unix.Timespec
	r := raw6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&set)), uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&zero)), 8, 0, 0)
	return info, errno(r) == 0
}

// Queue sends a siginfo of the payload's making to a thread of this process, or to the process if tid is 0:
// rt_tgsigqueueinfo(2) and rt_sigqueueinfo(2) for the payload's own use of them, with the kernel's result. A SIGSEGV or
// SIGBUS with a positive si_code, which a thread may send to itself, would look like a fault of the monitor; this keeps
// them apart.
func Queue(tid int, sig int, info *[128]byte) uintptr {
	send := *info
	head(&send).pad = 0
	if isFault(uintptr(sig)) && sicode(&send) > 0 {
		if self := gettid(); uintptr(tid) != self && (tid != 0 || self != getpid()) {
			return eperm
		}
		wrap(&send)
	}
	p := uintptr(unsafe.Pointer(&send))
	if tid == 0 {
		return raw6(unix.SYS_RT_SIGQUEUEINFO, getpid(), uintptr(sig), p, 0, 0, 0)
	}
	return raw6(unix.SYS_RT_TGSIGQUEUEINFO, getpid(), uintptr(tid), uintptr(sig), p, 0, 0)
}

const eperm = ^uintptr(unix.EPERM) + 1

// pending is the set of signals (bit sig-1) that are pending for the calling thread or the process.
func pending() (set uint64) {
	raw6(unix.SYS_RT_SIGPENDING, uintptr(unsafe.Pointer(&set)), 8, 0, 0, 0, 0)
	return set
}
