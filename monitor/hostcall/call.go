//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	_ "unsafe" // go:linkname

	"golang.org/x/sys/unix"
)

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

//go:linkname beforeExec syscall.runtime_BeforeExec
func beforeExec()

//go:linkname afterExec syscall.runtime_AfterExec
func afterExec()

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

// Execveat is execveat(2). It returns -errno, or not at all. Meanwhile Go's runtime makes no thread: while a process executes a
// program, clone(2) with CLONE_FS answers EAGAIN (fs->in_exec, see copy_fs in kernel/fork.c), and the runtime takes that for
// the end of its days. The pointers must lie outside of Go's stacks and be kept alive by the caller.
func Execveat(fd, path, argv, env, flags uintptr) uintptr {
	beforeExec()
	r := raw6(unix.SYS_EXECVEAT, fd, path, argv, env, flags, 0)
	afterExec()
	return r
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
