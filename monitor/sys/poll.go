package sys

import (
	"time"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var pollCalls = []entry{
	{unix.SYS_POLL, poll},
	{unix.SYS_PPOLL, ppoll},
	{unix.SYS_SELECT, selectTimeval},
	{unix.SYS_PSELECT6, pselect6},
}

// wait is the part that poll, select and epoll_wait have in common: a timeout
// whose rest is kept over a kick, and a signal mask for the time of the call.
type wait struct {
	until  hypercall.Until
	masked bool
	mask   uint64 // the payload's, for the time of the call
}

const sigsetSize = 8

// setMask reads a call's own signal mask; NULL is none.
func (w *wait) setMask(gva, size uint64) unix.Errno {
	if gva == 0 {
		return 0
	}
	if size != sigsetSize {
		return unix.EINVAL
	}
	v, e := usermem.ReadUint64(gva)
	w.masked, w.mask = true, v
	return e
}

// sleep makes the call; set is what its mask argument may point to.
func (w *wait) sleep(t task, nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr {
	if w.masked {
		return t.SleepMasked(w.mask, nr, a0, a1, a2, a3, a4, a5)
	}
	return t.Sleep(nr, a0, a1, a2, a3, a4, a5)
}

// timespec puts what is left of the timeout where the host reads it; 0 for none.
func (w *wait) timespec(t task) uintptr {
	if !w.until.Set {
		return 0
	}
	m := t.Scratch().Alloc(sizeTimespec)
	w.until.PutRemaining(m, 0)
	return m.Host()
}

// sigset puts the mask where the host reads it; 0 for none.
func (w *wait) sigset(t task) uintptr {
	if !w.masked {
		return 0
	}
	m := t.Scratch().Alloc(sigsetSize)
	m.PutUint64(0, hypercall.KernelMask(t, w.mask))
	return m.Host()
}

// milliseconds is the timeout of poll and epoll_wait: negative is for ever.
func milliseconds(v uint64) hypercall.Until {
	if int32(v) < 0 {
		return hypercall.Until{}
	}
	return hypercall.After(time.Duration(int32(v)) * time.Millisecond)
}

func poll(t task, a args) uint64 {
	return doPoll(t, a[0], a[1], wait{until: milliseconds(a[2])}, 0)
}

func ppoll(t task, a args) uint64 {
	until, e := hypercall.Deadline(a[2])
	w := wait{until: until}
	if e == 0 {
		e = w.setMask(a[3], a[4])
	}
	if e != 0 {
		return fail(e)
	}
	return doPoll(t, a[0], a[1], w, a[2])
}

const sizePollfd = 8

// doPoll polls a copy of the array, in which the monitor's descriptors are
// closed ones. rest is where ppoll writes what is left of the timeout, or 0.
func doPoll(t task, fds, n uint64, w wait, rest uint64) uint64 {
	n = uint64(uint32(n))
	if n > uint64(t.FDLimit()) {
		return fail(unix.EINVAL)
	}
	m := t.Scratch().Alloc(int(n) * sizePollfd)
	if m.Host() == 0 {
		return fail(unix.ENOMEM)
	}
	b := m.Bytes()
	if e := usermem.CopyIn(b, fds); e != 0 {
		return fail(e)
	}
	limit := int32(t.FDLimit())
	for i := 0; i < len(b); i += sizePollfd {
		if int32(le32(b[i:])) >= limit {
			put32(b[i:], hypercall.ClosedFD)
		}
	}
	r := w.sleep(t, unix.SYS_PPOLL, m.Host(), uintptr(n), w.timespec(t), w.sigset(t), sigsetSize, 0)
	return polled(t, fds, n, w, rest, b, r)
}

// polled hands the result of a poll to the payload: of each entry the kernel
// writes revents only, and so does this.
func polled(t task, fds, n uint64, w wait, rest uint64, b []byte, r uintptr) uint64 {
	if rest != 0 {
		w.writeTimespec(rest)
	}
	if interrupted(r) {
		return pollAgain(t, fds, n, w, rest)
	}
	if hypercall.Errno(uint64(r)) != 0 {
		return uint64(r)
	}
	const revents = 6
	for i := 0; i < len(b); i += sizePollfd {
		if e := usermem.CopyOut(fds+uint64(i)+revents, b[i+revents:i+sizePollfd]); e != 0 {
			return fail(e)
		}
	}
	return uint64(r)
}

func pollAgain(t task, fds, n uint64, w wait, rest uint64) uint64 {
	return again(t, func(t task) uint64 { return doPoll(t, fds, n, w, rest) })
}

// writeTimespec tells the payload what is left. Linux too ignores a timeout
// in read-only memory.
func (w *wait) writeTimespec(gva uint64) {
	var b [sizeTimespec]byte
	left := w.until.Remaining()
	put64(b[:], uint64(left/time.Second))
	put64(b[8:], uint64(left%time.Second))
	usermem.CopyOut(gva, b[:])
}

func (w *wait) writeTimeval(gva uint64) {
	var b [sizeTimespec]byte
	left := w.until.Remaining()
	put64(b[:], uint64(left/time.Second))
	put64(b[8:], uint64(left%time.Second/time.Microsecond))
	usermem.CopyOut(gva, b[:])
}

// selecting is the arguments of select and pselect6.
type selecting struct {
	n       uint64
	sets    [3]uint64
	w       wait
	timeval uint64 // where to write what is left, or 0
	rest    uint64 // the same as a timespec
}

func selectTimeval(t task, a args) uint64 {
	s := selecting{n: a[0], sets: [3]uint64(a[1:4]), timeval: a[4]}
	if a[4] != 0 {
		var tv [16]byte
		if e := usermem.CopyIn(tv[:], a[4]); e != 0 {
			return fail(e)
		}
		sec, usec := int64(le64(tv[:])), int64(le64(tv[8:]))
		sec, usec = sec+usec/1e6, usec%1e6
		if sec < 0 || usec < 0 {
			return fail(unix.EINVAL)
		}
		const ever = int64(1<<63-1) / int64(time.Second)
		s.w.until = hypercall.After(time.Duration(min(sec, ever-1))*time.Second + time.Duration(usec)*time.Microsecond)
	}
	return s.run(t)
}

func pselect6(t task, a args) uint64 {
	s := selecting{n: a[0], sets: [3]uint64(a[1:4]), rest: a[4]}
	var arg [16]byte // address and size of the mask
	if a[5] != 0 {
		if e := usermem.CopyIn(arg[:], a[5]); e != 0 {
			return fail(e)
		}
	}
	until, e := hypercall.Deadline(a[4])
	s.w.until = until
	if e == 0 {
		e = s.w.setMask(le64(arg[:]), le64(arg[8:]))
	}
	if e != 0 {
		return fail(e)
	}
	return s.run(t)
}

// run selects among the payload's descriptors: sets end before the monitor's.
func (s *selecting) run(t task) uint64 {
	n := int32(s.n)
	if n < 0 {
		return fail(unix.EINVAL)
	}
	n = min(n, int32(t.FDLimit()))
	size := uint64(n+63) / 64 * 8
	var set [3]uintptr
	for i, gva := range s.sets {
		set[i] = hypercall.PointerOrNil(gva, size)
	}
	sig := t.Scratch().Alloc(16)
	sig.PutUint64(0, uint64(s.w.sigset(t)))
	sig.PutUint64(8, sigsetSize)
	r := s.w.sleep(t, unix.SYS_PSELECT6, uintptr(n), set[0], set[1], set[2], s.w.timespec(t), sig.Host())
	if s.w.until.Set && s.timeval != 0 {
		s.w.writeTimeval(s.timeval)
	} else if s.w.until.Set {
		s.w.writeTimespec(s.rest)
	}
	if interrupted(r) {
		copied := *s
		return again(t, func(t task) uint64 { return copied.run(t) })
	}
	return uint64(r)
}
