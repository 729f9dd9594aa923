//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Heir makes the host thread of a new payload thread a child of the one that asks for it, as clone(2) does: with its credentials,
// capabilities, no_new_privs, namespaces, keyrings, scheduling, affinity and name. Go's runtime alone would make it a child
// of some thread of its own, which still has what a payload has given up.
//
// The runtime's thread that runs the new goroutine offers its place (stack, thread pointer, signal stack and mask), the payload
// thread clones a kernel thread that takes it, and the first one ends. The runtime knows kernel threads by number only to send
// signals to them, which it does not do here (asyncpreemptoff).
type Heir struct {
	sp, fs uint64
	stack  [24]byte // stack_t
	mask   uint64
	full   uint64
	result int64 // of clone
	state  uint32
}

//go:noescape
func offer(h *Heir)

//go:noescape
func take(h *Heir)

// Offer is called by a new goroutine that is locked to its thread. It returns on a thread that the caller of Take has made, true,
// or where it was, false, if there is none.
//
//go:nosplit
func (h *Heir) Offer() bool {
	entersyscall()
	offer(h)
	exitsyscall()
	return atomic.LoadUint32(&h.state) == heirTaken
}

const heirTaken = 2

// Take waits for Offer, and makes the new thread on the calling one, whose signals other than SIGSEGV and SIGBUS are blocked.
//
//go:nosplit
func (h *Heir) Take() unix.Errno {
	entersyscall()
	take(h)
	exitsyscall()
	runtime.KeepAlive(h)
	if h.result < 0 {
		return unix.Errno(-h.result)
	}
	return 0
}
