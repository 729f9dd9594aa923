//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A forked child keeps the payload's window and nothing else of its parent's monitor: it starts the same binary again
// within the process. Its memory then is:
//
//	the binary's segments   data from the file again, .bss zeroed
//	the window              the payload's, copy-on-write, as the kernel's fork has left it
//	the hand-over           one mapping: stack, start vector, list of system calls, the state
//	the end of the address space, from topKept on: the stack that execve made, to which the auxiliary vector points
//	[vvar] and [vdso]

// childStart is what forkRestart's child needs. It lies in the hand-over.
type childStart struct {
	clone    step
	steps    *step
	n        uintptr
	sp       uintptr
	entry    uintptr
	zero     uintptr // the part of the last page of the data segment that is .bss
	zeroLen  uintptr
	zeroSigs sigaction // SIG_DFL
	noStack  altStack
}

// altStack is stack_t.
type altStack struct {
	sp    uintptr
	flags int32
	_     int32
	size  uintptr
}

const ssDisable = 2

func forkRestart(c *childStart) (pid uintptr)

// handoverStack is the first thread's stack in a forked child, which Go's runtime takes to be 64 KiB at least.
const handoverStack = 256 << 10

// maxSteps bounds the list of system calls: signals, mappings, a few more.
const maxSteps = 128

// Child says what a forked child starts with.
type Child struct {
	// Clone is the system call that makes it, clone(2) or clone3(2) without CLONE_VM, and its arguments.
	Clone [6]uintptr
	// State is for StateGiven in the child.
	State []byte
	// Binary is a descriptor of this binary that can be read.
	Binary int
	// First are system calls that the child makes first: number and three arguments.
	First [][4]uintptr
	// Close are ranges of descriptors that the child closes, both ends included.
	Close [][2]uint32
	// VDSO is where this process has the vDSO and its data pages: start and end. Zero if there is none, or the child is to do
	// without.
	VDSO [2]uintptr
}

// Fork makes a child by the kernel's own copy-on-write: its window is this process's. The result is the child's pid for the
// parent, or -errno. In the child, main runs again and finds StateGiven. On a payload thread, whose signals are all
// blocked; nothing of what the other threads do stays consistent in the child but what the caller holds locks for.
func Fork(ch *Child) uintptr {
	size := pageUp(handoverStack + unsafe.Sizeof(childStart{}) + maxSteps*unsafe.Sizeof(step{}) + uintptr(len(ch.State)))
	base := raw6(unix.SYS_MMAP, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, ^uintptr(0), 0)
	if errno(base) != 0 {
		return base
	}
	h := newHandover(base, size, ch)
	h.vector()
	h.list()
	pid := forkRestart(h.start)
	raw6(unix.SYS_MUNMAP, base, size, 0, 0, 0, 0)
	return pid
}

func pageUp(n uintptr) uintptr { return (n + 4095) &^ 4095 }

// handover is the mapping that the child keeps.
type handover struct {
	base, size uintptr
	start      *childStart
	steps      *[maxSteps]step
	state      uintptr
	child      *Child
}

//go:nocheckptr
func newHandover(base, size uintptr, ch *Child) *handover {
	at := base + handoverStack
	h := &handover{base: base, size: size, child: ch}
	h.start = (*childStart)(unsafe.Pointer(at))
	at += unsafe.Sizeof(childStart{})
	h.steps = (*[maxSteps]step)(unsafe.Pointer(at))
	h.state = at + maxSteps*unsafe.Sizeof(step{})
	copy(unsafe.Slice((*byte)(unsafe.Pointer(h.state)), len(ch.State)), ch.State)
	*h.start = childStart{steps: &h.steps[0]}
	h.start.clone = step{ch.Clone[0], [6]uintptr{ch.Clone[1], ch.Clone[2], ch.Clone[3], ch.Clone[4], ch.Clone[5]}}
	h.start.entry = auxValue(atEntry)
	return h
}

func (h *handover) add(nr uintptr, args ...uintptr) {
	s := &h.steps[h.start.n]
	s.nr = nr
	copy(s.args[:], args)
	h.start.n++
}

// list writes the child's system calls.
func (h *handover) list() {
	for _, c := range h.child.First {
		h.add(c[0], c[1], c[2], c[3])
	}
	for _, r := range h.child.Close {
		h.add(unix.SYS_CLOSE_RANGE, uintptr(r[0]), uintptr(r[1]), 0)
	}
	keep := []span{{windowStart, windowStart + windowSize}, {h.base, h.base + h.size}, {h.child.VDSO[0], h.child.VDSO[1]}}
	for _, s := range segments() {
		keep = append(keep, s.span)
		if s.writable {
			h.renew(&s)
		}
	}
	for _, gap := range gaps(keep, topKept()) {
		h.add(unix.SYS_MUNMAP, gap.start, gap.end-gap.start)
	}
	dfl := uintptr(unsafe.Pointer(&h.start.zeroSigs))
	for sig := uintptr(1); sig <= numSignals; sig++ {
		if sig != uintptr(unix.SIGKILL) && sig != uintptr(unix.SIGSTOP) {
			h.add(unix.SYS_RT_SIGACTION, sig, dfl, 0, 8)
		}
	}
	h.start.noStack.flags = ssDisable
	h.add(unix.SYS_SIGALTSTACK, uintptr(unsafe.Pointer(&h.start.noStack)), 0)
}

// renew maps a writable segment as execve does: from the file, then zeroes.
func (h *handover) renew(s *segment) {
	const prot = unix.PROT_READ | unix.PROT_WRITE
	file := pageUp(s.fileEnd)
	h.add(unix.SYS_MMAP, s.start, file-s.start, prot, unix.MAP_PRIVATE|unix.MAP_FIXED, uintptr(h.child.Binary), s.offset)
	if s.end > file {
		h.add(unix.SYS_MMAP, file, s.end-file, prot, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	}
	h.start.zero, h.start.zeroLen = s.fileEnd, file-s.fileEnd
}

// gaps is the complement of keep below top, above the first page.
func gaps(keep []span, top uintptr) []span {
	var out []span
	at := uintptr(4096)
	for at < top {
		next := span{top, top}
		for _, k := range keep {
			if k.end > at && k.start < next.start {
				next = k
			}
		}
		if next.start > at {
			out = append(out, span{at, next.start})
		}
		at = next.end
	}
	return out
}

// vector writes the child's start vector at the top of its stack: no arguments but a name, the hand-over as the
// environment, this process's auxiliary vector. Behind the strings is room for the eight bytes that the entry reads.
func (h *handover) vector() {
	text := givenText(handoverPlace{addr: h.state, size: uintptr(len(h.child.State))})
	at := h.base + handoverStack - 4096
	words := append([]uintptr{1, putString(at, "kmdev"), 0, putString(at+16, text), 0}, auxWords(h.child.VDSO[1] != 0)...)
	sp := (at - uintptr(len(words))*wordSize) &^ 15
	copy(unsafe.Slice((*uintptr)(unsafe.Pointer(sp)), len(words)), words)
	h.start.sp = sp
}

//go:nocheckptr
func putString(at uintptr, s string) uintptr {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(at)), len(s)), s)
	return at
}
