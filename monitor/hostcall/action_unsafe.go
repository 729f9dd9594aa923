package hostcall

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	saNocldstop = 0x1
	saNocldwait = 0x2
	saSiginfo   = 0x4
	saRestorer  = 0x04000000
	saOnStack   = 0x08000000
	saRestart   = 0x10000000
)

// actions guards the host's dispositions: StopBy changes one for a while.
var actions sync.Mutex

// handled is the disposition with our handler. SA_RESTART is how the kernel tells which calls it would restart: see the
// blocking stub.
func handled() sigaction {
	handler, restorer := handlerAddresses()
	return sigaction{
		handler:  handler,
		flags:    saSiginfo | saOnStack | saRestart | saRestorer,
		restorer: restorer,
		mask:     ^uint64(0),
	}
}

// installHandlers puts our handler in the place of the runtime's, for every signal that can have one.
func installHandlers() error {
	ours := handled()
	for sig := 1; sig <= numSignals; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
			continue
		}
		var old sigaction
		if e := rtSigaction(sig, &ours, &old); e != 0 {
			return &Error{"install the handler of signal " + decimal(sig), e}
		}
		if old.handler > sigIgn {
			runtimeHandler[sig] = old.handler
		}
	}
	return nil
}

// SetDisposition lets the host know what it must about a disposition of the payload's. ignore is SIG_IGN: a SIGCHLD
// that is ignored leaves no zombies, an ignored SIGTTOU lets a background process write to its terminal. Of flags,
// SA_NOCLDSTOP and SA_NOCLDWAIT count. Signals that are pending at the time are dropped if ignore is set, as on Linux.
//
// Handlers and default actions are carried out by the caller; the host has our handler for both. EINVAL for a signal
// that can have neither. The two of a fault are never ignored on the host.
func SetDisposition(sig int, ignore bool, flags uint64) error {
	if sig < 1 || sig > numSignals || sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
		return unix.EINVAL
	}
	act := handled()
	act.flags |= uintptr(flags) & (saNocldstop | saNocldwait)
	if ignore && !isFault(uintptr(sig)) && uintptr(sig) != kickSignal {
		act.handler = sigIgn
	}
	actions.Lock()
	defer actions.Unlock()
	if e := rtSigaction(sig, &act, nil); e != 0 {
		return e
	}
	return nil
}

// rtSigaction is rt_sigaction(2) with the kernel's own struct. Either pointer may be nil.
func rtSigaction(sig int, act, old *sigaction) unix.Errno {
	return errno(raw6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0))
}

// setMask sets the calling thread's mask and returns the one before.
func setMask(mask uint64) (old uint64) {
	raw6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&mask)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	return old
}
