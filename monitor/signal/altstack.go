package signal

import "golang.org/x/sys/unix"

// Flags of an AltStack (sigaltstack(2)).
const (
	SSOnStack    = 1
	SSDisable    = 2
	SSAutoDisarm = 1 << 31
)

// MinAltStack is the least size that sigaltstack accepts, in bytes (the kernel's MINSIGSTKSZ). A frame needs
// AT_MINSIGSTKSZ; Linux checks that only where it is booted with strict_sas_size, or the processor has AMX.
const MinAltStack = 2048

// AltStack is the alternate signal stack as sigaltstack stored it. Flags are the caller's own, not the computed
// SS_ONSTACK: that is what a frame's uc_stack carries.
type AltStack struct {
	Base  uint64
	Size  uint64 // bytes; 0 if there is none
	Flags uint32
}

var noAltStack = AltStack{Flags: SSDisable}

// Exec is the stack after execve: none. Linux keeps the flags.
func (s AltStack) Exec() AltStack { return AltStack{Flags: s.Flags} }

// AltStack is the alternate stack, with SS_ONSTACK or SS_DISABLE as sigaltstack reports them to a thread whose stack
// pointer is sp.
func (t *ThreadState) AltStack(sp uint64) AltStack {
	s := t.alt
	s.Flags = s.status(sp) | s.Flags&SSAutoDisarm
	return s
}

// SetAltStack is sigaltstack(2) by a thread whose stack pointer is sp. EPERM: it is on the alternate stack; EINVAL:
// bad flags; ENOMEM: less than MinAltStack.
func (t *ThreadState) SetAltStack(s AltStack, sp uint64) unix.Errno {
	if t.alt.on(sp) {
		return unix.EPERM
	}
	mode := s.Flags &^ SSAutoDisarm
	switch {
	case mode != SSDisable && mode != SSOnStack && mode != 0:
		return unix.EINVAL
	case s == t.alt:
		return 0
	case mode == SSDisable:
		s.Base, s.Size = 0, 0
	case s.Size < MinAltStack:
		return unix.ENOMEM
	}
	t.alt = s
	return 0
}

// holds tells whether sp is on the stack, which grows down.
func (s AltStack) holds(sp uint64) bool { return sp > s.Base && sp-s.Base <= s.Size }

// on is holds, except that nobody is on a stack that disarms itself.
func (s AltStack) on(sp uint64) bool { return s.Flags&SSAutoDisarm == 0 && s.holds(sp) }

func (s AltStack) status(sp uint64) uint32 {
	switch {
	case s.Size == 0:
		return SSDisable
	case s.on(sp):
		return SSOnStack
	}
	return 0
}
