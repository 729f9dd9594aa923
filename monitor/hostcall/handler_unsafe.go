package hostcall

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ucontext is the kernel's struct ucontext of x86-64, as far as it is used here (arch/x86/include/uapi/asm/sigcontext.h).
type ucontext struct {
	_       [40]byte
	r       [16]uint64 // r8 … r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp
	rip     uint64
	_       [120]byte
	sigmask uint64 // offset 296
}

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	saSiginfo  = 0x4
	saRestorer = 0x04000000
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
)

// runtimeHandler is what Go's runtime had installed, by signal.
var runtimeHandler [numSignals + 1]uintptr

var (
	selfPid    uintptr
	mainThread atomic.Int32 // SetMainThread

	// closedThreads counts payload threads that have SIGSEGV and SIGBUS blocked: Block.closed. While it is not 0, fault-safe
	// accesses are made on another thread. Assembly reads it.
	closedThreads uint32

	// healed counts threads that handle has closed: see healThreads.
	healed uint32
)

func sigHandler()
func sigReturn()
func handlerAddresses() (handler, restorer uintptr)

// SetMainThread names the payload thread that gets a SIGSEGV or SIGBUS which was sent to the process from outside and which the kernel gave to
// one of the monitor's own threads. The process's first thread, unless set.
func SetMainThread(tid int) { mainThread.Store(int32(tid)) }

// installHandlers puts sigHandler in the place of the runtime's handlers, for every signal that can have one.
func installHandlers() error {
	handler, restorer := handlerAddresses()
	ours := sigaction{
		handler:  handler,
		flags:    saSiginfo | saOnStack | saRestart | saRestorer,
		restorer: restorer,
		mask:     ^uint64(0),
	}
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

// handle deals with a signal that did not hit the blocking stub. It returns the handler to go on with, 0 to return from the signal.
//
// Only SIGSEGV and SIGBUS are ever open outside the stub. A positive si_code is a fault of this thread: in a fault-safe access it
// becomes that access's result, elsewhere it is a bug of the monitor, and Go's runtime reports it. Other codes mean that somebody sent it: it is
// the payload's.
//
// It runs on the signal stack, in any thread of the process, perhaps without a P: no allocation, no write barrier, no stack check.
//
//go:nosplit
//go:norace
func handle(sig uintptr, info *[128]byte, uc *ucontext) uintptr {
	switch {
	case isFault(sig) && sicode(info) > 0:
		if exit := faultTarget(uintptr(uc.rip)); exit != 0 {
			uc.rip = uint64(exit)
			return 0
		}
		return runtimeHandler[sig]
	case isFault(sig):
		payloadFault(sig, info, uc)
		return 0
	case sicode(info) == siTkill && senderPid(info) == int32(selfPid) && runtimeHandler[sig] != 0:
		return runtimeHandler[sig] // the runtime's own
	}
	straySignal(sig, info, uc)
	return 0
}

// payloadFault passes on a SIGSEGV or SIGBUS that somebody sent. In a payload thread it becomes pending there, by blocking the two and sending it
// again to this thread, so that KVM_RUN, Call, Dequeue, sigpending and signalfd all find it in the kernel's own queue. Until it is
// taken, the thread must not fault (closedThreads). Elsewhere it is sent to the main thread.
//
//go:nosplit
//go:norace
func payloadFault(sig uintptr, info *[128]byte, uc *ucontext) {
	tid := gettid()
	b := findBlock(int32(tid))
	if b == nil {
		wrap(info)
		raw6(unix.SYS_RT_TGSIGQUEUEINFO, selfPid, uintptr(mainThread.Load()), sig, uintptr(unsafe.Pointer(info)), 0, 0)
		return
	}
	if b.closed == 0 {
		b.closed = 1
		atomic.AddUint32(&closedThreads, 1)
	}
	uc.sigmask |= faultBits
	raw6(unix.SYS_RT_TGSIGQUEUEINFO, selfPid, tid, sig, uintptr(unsafe.Pointer(info)), 0, 0)
	if exit := retryTarget(uintptr(uc.rip)); exit != 0 {
		uc.rip = uint64(exit)
	}
}

// straySignal closes a thread that the runtime started before patchSigtable, and gives back what arrived there: Init's own prod is dropped, all else goes to the
// process's queue.
//
//go:nosplit
//go:norace
func straySignal(sig uintptr, info *[128]byte, uc *ucontext) {
	uc.sigmask = threadMask
	if sig == kickSignal && hasCookie(info) {
		atomic.AddUint32(&healed, 1)
		raw6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&healed)), futexWakePrivate, 1<<30, 0, 0, 0)
		return
	}
	wrap(info)
	raw6(unix.SYS_RT_SIGQUEUEINFO, selfPid, sig, uintptr(unsafe.Pointer(info)), 0, 0, 0)
}

// took notes that a signal was taken from the kernel's queue in b's thread.
func (b *Block) took(sig int) {
	if b.closed != 0 && isFault(uintptr(sig)) {
		b.reopen()
	}
}

// reopen opens SIGSEGV and SIGBUS in the calling thread, which is b's. If another one is pending it arrives at once and closes them again.
func (b *Block) reopen() {
	if b.closed == 0 {
		return
	}
	b.closed = 0
	atomic.AddUint32(&closedThreads, ^uint32(0))
	set := uint64(faultBits)
	raw6(unix.SYS_RT_SIGPROCMASK, unix.SIG_UNBLOCK, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
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
