package hostcall

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ResetForDeath ends the process by a signal whose default action is to end it, so that the parent's wait status says
// exactly that. No core of the monitor is written, and WCOREDUMP is not set. It does not return. If sig does not end a
// process, the process exits with 128+sig, as a shell would put it.
func ResetForDeath(sig int) {
	runtime.LockOSThread()
	raw6(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0, 0)
	none := unix.Rlimit{}
	raw6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	raiseDefault(sig)
	for {
		raw6(unix.SYS_EXIT_GROUP, uintptr(128+sig), 0, 0, 0, 0, 0)
	}
}

// raiseDefault takes the default action of sig in the calling thread, with sig open and everything else blocked, and
// returns if it neither ended the process nor will: after a stop, it returns when the process has been continued.
func raiseDefault(sig int) {
	rtSigaction(sig, &sigaction{}, nil) // SIG_DFL
	old := setMask(^uint64(0))
	raw6(unix.SYS_TGKILL, getpid(), gettid(), uintptr(sig), 0, 0, 0)
	setMask(^(uint64(1) << (sig - 1))) // here it strikes
	setMask(old)
}

// StopBy takes the default action of SIGTSTP, SIGTTIN or SIGTTOU: the whole process stops, and the parent sees WSTOPSIG
// == sig. It returns when the process has been continued, or at once if the kernel does not stop it (an orphaned
// process group). Called by a payload thread.
//
// SIGSTOP needs no help: kill(2) does it.
func StopBy(sig int) {
	actions.Lock()
	defer actions.Unlock()
	var ours sigaction
	rtSigaction(sig, nil, &ours)
	raiseDefault(sig)
	rtSigaction(sig, &ours, nil)
}
