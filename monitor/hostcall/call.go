//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	_ "unsafe" // go:linkname
)

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

//go:noescape
func enter(b *Block)
func window()
func issue()
func finish()
func restore()
func stubAddresses() (enter, window, issue, finish, restore uintptr)

//go:noescape
func raw6(nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr

// Raw makes a system call that never sleeps, without a word to Go's scheduler: the whole monitor's garbage collection
// waits for it. The result is the kernel's: values in [-4095, -1] are -errno. Pointers must be addresses outside the Go
// heap, or conversions of unsafe.Pointer in the argument list.
//
//go:uintptrescapes
//go:nosplit
//go:norace
func Raw(nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	return raw6(nr, a0, a1, a2, a3, a4, a5)
}

// Call makes a system call that may sleep, for the payload thread that b belongs to. mask is the set of signals that
// stay blocked meanwhile (bit sig-1, as in rt_sigprocmask); SIGSTKFLT is always open, for Kick. At most one signal is
// taken; Signal has it.
//
// The result is the kernel's, with these for a call that a signal ended:
//
//	-513 ERESTARTNOINTR  the signal came before the call began: nothing has happened
//	-512 ERESTARTSYS     the kernel would restart it under SA_RESTART (ERESTARTSYS or ERESTARTNOINTR)
//	-4   EINTR           it ended with EINTR, ERESTARTNOHAND or ERESTART_RESTARTBLOCK
//
// In the last case the kernel keeps the restart block: Call(mask, SYS_RESTART_SYSCALL) goes on with the sleep, as long as
// this thread has not slept in another such call since.
//
// Any other result stands, whether Signal has a signal or not: it came after the call had ended. So each signal taken
// is taken once and no result is ever lost.
//
//go:uintptrescapes
//go:nosplit
//go:norace
func (b *Block) Call(mask uint64, nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	b.mask = mask &^ kickBit
	b.nr = uint64(nr)
	b.args = [6]uint64{uint64(a0), uint64(a1), uint64(a2), uint64(a3), uint64(a4), uint64(a5)}
	b.taken = 0
	// No stack growth between the two: entersyscall has recorded this frame.
	entersyscall()
	enter(b)
	exitsyscall()
	return uintptr(b.result)
}

// Signal returns the siginfo of the signal that the last Call took, once.
func (b *Block) Signal() (info [128]byte, ok bool) {
	if b.taken == 0 {
		return info, false
	}
	b.taken = 0
	info = b.info
	unwrap(&info)
	b.took(signo(&info))
	return info, true
}

// Taken tells whether the last Call took a signal that Signal has not given out yet.
func (b *Block) Taken() bool { return b.taken != 0 }
