package hostcall

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxBlocks bounds the payload threads of one process; the kernel's own default bound (kernel.threads-max) is below it
// on machines of up to 16 GB.
const maxBlocks = 1 << 17

// Block is a payload thread's blocking stub. It lives outside the Go heap, since a signal handler writes it, and
// belongs to the thread that called New: no other uses it.
//
// Assembly knows the fields by name (go_asm.h).
type Block struct {
	mask   uint64 // blocked during the call
	old    uint64 // blocked before and after: the kernel's own word for this thread
	nr     uint64 // system call
	args   [6]uint64
	result uint64
	// blocked is what the payload blocks in this thread: SetBlocked. Signal handlers of other threads read it.
	blocked uint64
	vfork   uintptr   // the *Vfork whose child's call this is, 0 if it is none's: Vforked
	taken   uint32    // the handler took a signal: info
	closed  uint32    // SIGSEGV and SIGBUS are blocked in this thread: see payloadFault
	tid     int32     // 0 if the block is free. Signal handlers of other threads read it
	_       [20]byte  // info has cache lines of its own
	info    [128]byte // siginfo
}

// arena holds all Blocks. used is the count of slots ever handed out, for findBlock, which a signal handler calls.
var arena struct {
	sync.Mutex
	base uintptr
	free []*Block
	used uint32
}

func mapArena() error {
	p, _, e := unix.Syscall6(unix.SYS_MMAP, 0, maxBlocks*unsafe.Sizeof(Block{}), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, ^uintptr(0), 0)
	if e != 0 {
		return &Error{"reserve memory for the threads' blocks", e}
	}
	arena.base = p
	return nil
}

//go:nosplit
//go:norace
//go:nocheckptr
func blockAt(i uint32) *Block {
	return (*Block)(unsafe.Pointer(arena.base + uintptr(i)*unsafe.Sizeof(Block{})))
}

// findBlock returns the block of a thread, nil if it has none. Signal handlers call it; it is rare.
//
//go:nosplit
//go:norace
func findBlock(tid int32) *Block {
	for i, n := uint32(0), arena.used; i < n; i++ {
		if b := blockAt(i); b.tid == tid {
			return b
		}
	}
	return nil
}

// New makes the calling thread a payload thread. The goroutine must be locked to its thread (runtime.LockOSThread), and
// must call Free before it ends. Fails before Init, and with ENOMEM beyond 131,072 threads.
func New() (*Block, error) {
	b, err := Reserve()
	if err == nil {
		b.Adopt()
	}
	return b, err
}

// Reserve makes a Block for a thread that is still to come: it calls Adopt then. Discard gives it up instead.
func Reserve() (*Block, error) {
	if arena.base == 0 {
		return nil, errNotStarted
	}
	b := allocate()
	if b == nil {
		return nil, &Error{"make a payload thread: too many", unix.ENOMEM}
	}
	*b = Block{}
	return b, nil
}

// Adopt makes the calling thread the payload thread that b was reserved for; see New.
func (b *Block) Adopt() {
	setMask(threadMask)
	atomic.StoreInt32(&b.tid, int32(gettid()))
}

// Discard gives back a Block that no thread has adopted.
func (b *Block) Discard() {
	arena.Lock()
	defer arena.Unlock()
	arena.free = append(arena.free, b)
}

func allocate() *Block {
	arena.Lock()
	defer arena.Unlock()
	if n := len(arena.free); n > 0 {
		b := arena.free[n-1]
		arena.free = arena.free[:n-1]
		return b
	}
	n := arena.used
	if n == maxBlocks {
		return nil
	}
	atomic.StoreUint32(&arena.used, n+1)
	return blockAt(n)
}

// SetBlocked notes what the payload blocks in b's thread now (bit sig-1), for a SIGSEGV or SIGBUS that is sent to the
// process: it goes to a thread that has it open. Called by that thread; nothing, until it is.
func (b *Block) SetBlocked(mask uint64) { atomic.StoreUint64(&b.blocked, mask) }

// Abandon is Free for the block of a vfork child's thread, which is gone; called in the parent.
func (b *Block) Abandon() {
	atomic.StoreInt32(&b.tid, 0)
	if b.closed != 0 {
		b.markOpen()
	}
	arena.Lock()
	defer arena.Unlock()
	arena.free = append(arena.free, b)
}

// Blocked is what SetBlocked noted last. Called by any thread.
func (b *Block) Blocked() uint64 { return atomic.LoadUint64(&b.blocked) }

// Free ends the thread's being a payload thread. Called by that thread, after which b is no longer its. Signals that
// are pending for the thread are lost when it ends, as on Linux.
func (b *Block) Free() {
	b.retire()
	b.Discard()
}
