package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// aioWait is io_getevents and io_pgetevents. Like Linux it may give fewer than
// least events when it is interrupted.
type aioWait struct {
	id, least, most, events uint64
	w                       wait
}

// aioDeadline is a timeout that Linux does not check: a negative one is over.
func aioDeadline(gva uint64) (hypercall.Until, unix.Errno) {
	until, e := hypercall.Deadline(gva)
	if e == unix.EINVAL {
		return hypercall.After(0), 0
	}
	return until, e
}

func aioGetevents(t task, a args) uint64 {
	until, e := aioDeadline(a[4])
	if e != 0 {
		return fail(e)
	}
	g := aioWait{a[0], a[1], a[2], a[3], wait{until: until}}
	return g.run(t)
}

func aioPgetevents(t task, a args) uint64 {
	until, e := aioDeadline(a[4])
	if e != 0 {
		return fail(e)
	}
	g := aioWait{a[0], a[1], a[2], a[3], wait{until: until}}
	if a[5] != 0 { // struct __aio_sigset: mask, size
		mask, e := usermem.ReadUint64(a[5])
		if e != 0 {
			return fail(e)
		}
		size, e := usermem.ReadUint64(a[5] + 8)
		if e == 0 {
			e = g.w.setMask(mask, size)
		}
		if e != 0 {
			return fail(e)
		}
	}
	return g.run(t)
}

func (g aioWait) run(t task) uint64 {
	c := aioFind(g.id)
	if c == nil || int64(g.least) < 0 || int64(g.most) < int64(g.least) {
		return fail(unix.EINVAL)
	}
	// No more than all slots can be complete at a time; a larger minimum is met
	// in several rounds.
	most := min(g.most, uint64(len(c.slots)))
	m := t.Scratch().Alloc(int(most) * sizeIoEvent)
	if m.Host() == 0 {
		return fail(unix.ENOMEM)
	}
	r := g.w.sleep(t, unix.SYS_IO_PGETEVENTS, c.host, uintptr(min(g.least, most)), uintptr(most), m.Host(), g.w.timespec(t), g.sigset(t))
	if interrupted(r) {
		return again(t, g.run)
	}
	if e := hypercall.Errno(uint64(r)); e != 0 {
		return fail(e)
	}
	b := m.Bytes()[:r*sizeIoEvent]
	c.complete(b)
	if e := usermem.CopyOut(g.events, b); e != 0 {
		return fail(e)
	}
	return uint64(r)
}

// sigset puts the mask and its address where the host reads them; 0 for none.
func (g *aioWait) sigset(t task) uintptr {
	mask := g.w.sigset(t)
	if mask == 0 {
		return 0
	}
	m := t.Scratch().Alloc(16)
	m.PutUint64(0, uint64(mask))
	m.PutUint64(8, sigsetSize)
	return m.Host()
}

// complete makes an array of the host's struct io_event the payload's and frees
// their slots.
func (c *aioContext) complete(b []byte) {
	for ; len(b) >= sizeIoEvent; b = b[sizeIoEvent:] {
		r := c.release(int(le64(b)))
		put64(b, r.data)
		put64(b[8:], r.iocb)
	}
}
