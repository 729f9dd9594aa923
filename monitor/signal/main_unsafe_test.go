package signal

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// resetDispositions gives native programs the dispositions that the model starts with: make, for one, starts its children with
// signals 32 and 33 ignored.
func resetDispositions() {
	for sig := uintptr(32); sig <= 33; sig++ {
		var act [4]uint64 // SIG_DFL
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
	}
}
