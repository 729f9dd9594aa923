package signal

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The system calls below take their pointers as the payload passed them (0 is NULL) and return Linux's errno: they
// check sizes and read memory before they change anything, and write results last.

// Sigaction is rt_sigaction(2). The Change counts even where the result could not be written (EFAULT).
func (a *Actions) Sigaction(m Mem, sig int32, act, old, size uint64) (Change, unix.Errno) {
	if size != sigsetSize {
		return Change{}, unix.EINVAL
	}
	var b [sigactionSize]byte
	var next Action
	if act != 0 {
		if e := m.CopyIn(b[:], act); e != 0 {
			return Change{}, e
		}
		next = decodeAction(&b)
	}
	var prev Action
	var ch Change
	switch {
	case act != 0:
		var e unix.Errno
		if prev, ch, e = a.Set(int(sig), next); e != 0 {
			return ch, e
		}
	case !Valid(int(sig)):
		return ch, unix.EINVAL
	default:
		prev = a.Get(int(sig))
	}
	if old == 0 {
		return ch, 0
	}
	encodeAction(&b, prev)
	return ch, m.CopyOut(old, b[:])
}

// Sigprocmask is rt_sigprocmask(2).
func (t *ThreadState) Sigprocmask(m Mem, how int32, set, old, size uint64) unix.Errno {
	if size != sigsetSize {
		return unix.EINVAL
	}
	prev := t.blocked
	if set != 0 {
		s, e := ReadSet(m, set)
		if e != 0 {
			return e
		}
		switch how {
		case unix.SIG_BLOCK:
			s |= prev
		case unix.SIG_UNBLOCK:
			s = prev &^ s
		case unix.SIG_SETMASK:
		default:
			return unix.EINVAL
		}
		t.SetBlocked(s)
	}
	if old == 0 {
		return 0
	}
	return writeSet(m, old, prev, sigsetSize)
}

// Sigaltstack is sigaltstack(2) by a thread whose stack pointer is sp.
func (t *ThreadState) Sigaltstack(m Mem, set, old, sp uint64) unix.Errno {
	var b [24]byte // stack_t: ss_sp, ss_flags, padding, ss_size
	prev := t.AltStack(sp)
	if set != 0 {
		if e := m.CopyIn(b[:], set); e != 0 {
			return e
		}
		s := AltStack{Base: le.Uint64(b[0:]), Flags: le.Uint32(b[8:]), Size: le.Uint64(b[16:])}
		if e := t.SetAltStack(s, sp); e != 0 {
			return e
		}
	}
	if old == 0 {
		return 0
	}
	clear(b[:])
	le.PutUint64(b[0:], prev.Base)
	le.PutUint32(b[8:], prev.Flags)
	le.PutUint64(b[16:], prev.Size)
	return m.CopyOut(old, b[:])
}

// Sigsuspend is the beginning of rt_sigsuspend(2): the mask is in force when it returns 0, and the caller sleeps until
// a signal comes, then ends with ERestartNoHand.
func (t *ThreadState) Sigsuspend(m Mem, set, size uint64) unix.Errno {
	if size != sigsetSize {
		return unix.EINVAL
	}
	s, e := ReadSet(m, set)
	if e != 0 {
		return e
	}
	t.SetTemporary(s)
	return 0
}

// TemporaryMask is the beginning of ppoll(2), epoll_pwait(2) and io_pgetevents(2), and of pselect6(2) once its pair has been read:
// set 0 changes nothing. The call ends with RestoreMask unless a signal ended it.
func (t *ThreadState) TemporaryMask(m Mem, set, size uint64) unix.Errno {
	if set == 0 {
		return 0
	}
	return t.Sigsuspend(m, set, size)
}

// Sigpending is rt_sigpending(2); pending is the host's answer for this thread, process-wide signals included.
func (t *ThreadState) Sigpending(m Mem, pending Set, set, size uint64) unix.Errno {
	if size > sigsetSize {
		return unix.EINVAL
	}
	if size == 0 {
		return 0
	}
	return writeSet(m, set, pending&t.blocked, int(size))
}

// ReadSet reads a sigset_t.
func ReadSet(m Mem, addr uint64) (Set, unix.Errno) {
	var b [sigsetSize]byte
	e := m.CopyIn(b[:], addr)
	return Set(le.Uint64(b[:])), e
}

func writeSet(m Mem, addr uint64, s Set, size int) unix.Errno {
	b := binary.LittleEndian.AppendUint64(nil, uint64(s))
	return m.CopyOut(addr, b[:size])
}

func decodeAction(b *[sigactionSize]byte) Action {
	return Action{Handler: le.Uint64(b[0:]), Flags: le.Uint64(b[8:]), Restorer: le.Uint64(b[16:]), Mask: Set(le.Uint64(b[24:]))}
}

func encodeAction(b *[sigactionSize]byte, a Action) {
	le.PutUint64(b[0:], a.Handler)
	le.PutUint64(b[8:], a.Flags)
	le.PutUint64(b[16:], a.Restorer)
	le.PutUint64(b[24:], uint64(a.Mask))
}
