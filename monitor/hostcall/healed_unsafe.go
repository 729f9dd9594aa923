package hostcall

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

func loadHealed() uint32 { return atomic.LoadUint32(&healed) }

// waitHealed waits until a thread has been closed since healed was before. A thread that ends instead of answering gives no sign, so
// it also returns after a while, for the caller to look again.
func waitHealed(before uint32) {
	const while = 1e7 // ns
	if atomic.LoadUint32(&healed) == before {
		t := unix.NsecToTimespec(while)
		unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&healed)), futexWaitPrivate, uintptr(before),
			uintptr(unsafe.Pointer(&t)), 0, 0)
	}
}
