package hostcall

import (
	"golang.org/x/sys/unix"
)

const (
	numSignals = 64
	kickSignal = uintptr(unix.SIGSTKFLT)
	kickBit    = uint64(1) << (kickSignal - 1)
	faultBits  = uint64(1)<<(unix.SIGSEGV-1) | uint64(1)<<(unix.SIGBUS-1)
	threadMask = ^faultBits // blocked in every thread of the monitor

	sigDfl = 0
	sigIgn = 1

	siQueue = -1
	siTkill = -6
)

//go:nosplit
//go:norace
func isFault(sig uintptr) bool { return sig == uintptr(unix.SIGSEGV) || sig == uintptr(unix.SIGBUS) }

//go:nosplit
//go:norace
func bitOf(sig uintptr) uint64 { return 1 << ((sig - 1) & 63) }

//go:nosplit
//go:norace
func gettid() uintptr { return raw6(unix.SYS_GETTID, 0, 0, 0, 0, 0, 0) }

// getpid is asked anew each time: a vfork child runs this process's code.
//
//go:nosplit
//go:norace
func getpid() uintptr { return raw6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0) }

func errno(r uintptr) unix.Errno {
	if r > ^uintptr(4095) {
		return unix.Errno(-r)
	}
	return 0
}
