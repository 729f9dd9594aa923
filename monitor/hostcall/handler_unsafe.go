//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ucontext is the kernel's struct ucontext of x86-64, as far as it is used here
// (arch/x86/include/uapi/asm/sigcontext.h).
type ucontext struct {
	_       [40]byte
	r       [16]uint64 // r8 … r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp
	rip     uint64
	_       [24]byte
	trap    uint64 // of the thread's last fault
	_       [8]byte
	cr2     uint64 // the same
	_       [72]byte
	sigmask uint64 // offset 296
}

// runtimeHandler is what Go's runtime had installed, by signal.
var runtimeHandler [numSignals + 1]uintptr

var (
	mainThread int32 // SetMainThread

	// closedThreads counts payload threads that have SIGSEGV and SIGBUS blocked: Block.closed. While it is not 0,
	// fault-safe accesses are made on another thread. Assembly reads it.
	closedThreads uint32
)

func sigHandler()
func sigReturn()

// add32 is an atomic addition that may be used in a signal handler.
//
//go:noescape
func add32(p *uint32, delta uint32)

func handlerAddresses() (handler, restorer uintptr)

// SetMainThread names the payload thread that gets a SIGSEGV or SIGBUS which somebody sent to the process, if it has it
// open. It is the process's first thread, unless set.
func SetMainThread(tid int) { atomic.StoreInt32(&mainThread, int32(tid)) }

// handle deals with a signal that did not hit the blocking stub. It returns the handler to go on with, or 0 to return
// to what was interrupted.
//
// Only SIGSEGV and SIGBUS are ever open outside the stub. A fault of this thread (ownFault) becomes, in a fault-safe access,
// that access's result; elsewhere it is a bug of the monitor, and Go's runtime reports it. Any other was sent: it is the payload's.
//
// It runs on the signal stack, in any thread of the process, perhaps without a P, perhaps in the midst of the runtime's
// own code: no allocation, no write barrier, no stack check, no lock, no pointer conversion that checkptr sees, and
// nothing of package sync/atomic, which is instrumented under the race detector and not inlined with -N. Aligned loads
// and stores are atomic on amd64.
//
//go:nosplit
//go:norace
func handle(sig uintptr, info *[128]byte, uc *ucontext) uintptr {
	switch {
	case isFault(sig) && ownFault(info, uc):
		if exit := faultTarget(uintptr(uc.rip)); exit != 0 {
			uc.rip = uint64(exit)
			return 0
		}
		return runtimeHandler[sig]
	case isFault(sig):
		payloadFault(sig, info, uc)
		return 0
	}
	return runtimeHandler[sig] // opened by Go code, against the rules
}

// ownFault tells a fault of this thread from a signal that was sent. Its si_code is positive; but so is that of what F_SETSIG and
// a child's end send, and there the address is not the one that the processor last complained about.
//
//go:nosplit
//go:norace
func ownFault(info *[128]byte, uc *ucontext) bool {
	const siKernel, pageFault = 0x80, 14
	code := sicode(info)
	return code == siKernel || code > 0 && uc.trap == pageFault && uc.cr2 == faultAddress(info)
}

// payloadFault passes on a SIGSEGV or SIGBUS that somebody sent.
//
// It becomes pending in a payload thread, by blocking the two there and sending it to that thread again, so that
// KVM_RUN, Call, Dequeue, sigpending and signalfd all find it in the kernel's own queue. Until it is taken the thread
// must not fault, for the kernel kills on a blocked fault: closedThreads. What was sent to the process goes to a thread
// that has it open, as on Linux; but where none has, it waits for one thread, not for the first to open it.
//
//go:nosplit
//go:norace
func payloadFault(sig uintptr, info *[128]byte, uc *ucontext) {
	tid := int32(gettid())
	b := findBlock(tid)
	if b == nil || sicode(info) != siTkill && b.blocked&bitOf(sig) != 0 {
		wrap(info)
		if !sendAway(tid, sig, info) {
			return
		}
	}
	if b.closed == 0 {
		b.closed = 1
		add32(&closedThreads, 1)
	}
	uc.sigmask |= faultBits
	sendTo(tid, sig, info)
	if exit := retryTarget(uintptr(uc.rip)); exit != 0 {
		uc.rip = uint64(exit)
	}
}

// sendAway sends a signal to the thread that it is for. It reports whether that is the calling one, and sends nothing
// then. A thread that ends between the choice and the sending is not chosen again.
//
//go:nosplit
//go:norace
func sendAway(self int32, sig uintptr, info *[128]byte) (keep bool) {
	for range 3 {
		to := choose(sig)
		if to == self {
			return true
		}
		if to == 0 || sendTo(to, sig, info) == 0 {
			break
		}
	}
	return false
}

//go:nosplit
//go:norace
func sendTo(tid int32, sig uintptr, info *[128]byte) uintptr {
	return raw6(unix.SYS_RT_TGSIGQUEUEINFO, getpid(), uintptr(tid), sig, uintptr(unsafe.Pointer(info)), 0, 0)
}

// choose is the payload thread that a signal to the process is for: the main thread if it has it open, else any that
// has, else the main thread, else any. 0 if there is none: then there is nobody whom the signal could concern.
//
//go:nosplit
//go:norace
func choose(sig uintptr) int32 {
	var open, last, first int32
	for i, n := uint32(0), arena.used; i < n; i++ {
		b := blockAt(i)
		tid := b.tid
		if tid == 0 {
			continue
		}
		last = tid
		if tid == mainThread {
			first = tid
		}
		if b.blocked&bitOf(sig) == 0 && open != mainThread {
			open = tid
		}
	}
	switch {
	case open != 0:
		return open
	case first != 0:
		return first
	}
	return last
}

// took notes that b's thread, which is the calling one, took a signal from the kernel's queue.
func (b *Block) took(sig int) {
	if b.closed != 0 && isFault(uintptr(sig)) {
		b.markOpen()
		set := faultBits
		raw6(unix.SYS_RT_SIGPROCMASK, unix.SIG_UNBLOCK, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
		// If another one is pending it has arrived by now, and closed the thread again.
	}
}

// retire makes b's thread, which is the calling one, one of the monitor's own. What was sent to the process goes to
// another thread, what was sent to this one is dropped, as when a thread ends.
func (b *Block) retire() {
	setMask(^uint64(0))
	atomic.StoreInt32(&b.tid, 0)
	if b.closed != 0 {
		b.markOpen()
	}
	for info, ok := dequeue(faultBits); ok; info, ok = dequeue(faultBits) {
		if sicode(&info) != siTkill {
			wrap(&info)
			sendAway(0, uintptr(signo(&info)), &info)
		}
	}
	setMask(threadMask)
}

func (b *Block) markOpen() {
	b.closed = 0
	add32(&closedThreads, ^uint32(0))
}
