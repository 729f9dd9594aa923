package signal

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// Max is the highest signal number (the kernel's _NSIG).
const Max = 64

// Set is a set of signals, the kernel's sigset_t: signal sig is bit sig-1.
type Set uint64

// Unblockable are the signals that no mask holds back and no action catches.
const Unblockable = Set(1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1))

// Synchronous are the signals that exceptions raise; they are taken before others (SYNCHRONOUS_MASK).
const Synchronous = Set(1<<(unix.SIGSEGV-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) |
	1<<(unix.SIGFPE-1) | 1<<(unix.SIGSYS-1))

// Of is the set of the given signals; numbers outside 1…Max add nothing.
func Of(sigs ...int) Set {
	var s Set
	for _, sig := range sigs {
		s |= bit(sig)
	}
	return s
}

// Has tells whether sig is in the set.
func (s Set) Has(sig int) bool { return s&bit(sig) != 0 }

// With is the set and sig.
func (s Set) With(sig int) Set { return s | bit(sig) }

// Without is the set less sig.
func (s Set) Without(sig int) Set { return s &^ bit(sig) }

// Next is the signal that Linux takes first of a pending set: synchronous ones first, then the lowest number. It is
// 0 for the empty set.
func (s Set) Next() int {
	if sync := s & Synchronous; sync != 0 {
		s = sync
	}
	if s == 0 {
		return 0
	}
	return bits.TrailingZeros64(uint64(s)) + 1
}

// Signals lists the set in ascending order.
func (s Set) Signals() []int {
	var sigs []int
	for ; s != 0; s &= s - 1 {
		sigs = append(sigs, bits.TrailingZeros64(uint64(s))+1)
	}
	return sigs
}

// Valid tells whether sig is a signal number.
func Valid(sig int) bool { return sig >= 1 && sig <= Max }

func bit(sig int) Set {
	if !Valid(sig) {
		return 0
	}
	return 1 << (sig - 1)
}
