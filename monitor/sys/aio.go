package sys

import (
	"sync"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// Asynchronous I/O (io_setup(2)) is the host's: requests are copied, translated
// and submitted, and come back under a number of the monitor's, which finds the
// payload's request again.
//
// The kernel's ring of completions stays outside the payload's memory, since it
// holds host addresses. The context's id is a page of the payload's, as on
// Linux, but without the magic number that says a ring is there: libaio then
// asks the kernel.
var aioCalls = []entry{
	{unix.SYS_IO_SETUP, aioSetup},
	{unix.SYS_IO_DESTROY, aioDestroy},
	{unix.SYS_IO_SUBMIT, aioSubmit},
	{unix.SYS_IO_CANCEL, aioCancel},
	{unix.SYS_IO_GETEVENTS, aioGetevents},
	{unix.SYS_IO_PGETEVENTS, aioPgetevents},
}

// aioContexts are the contexts of this process by their id, the payload's
// address of the page. A child of fork has none, as on Linux.
var aioContexts struct {
	sync.Mutex
	byID map[uint64]*aioContext
}

// aioContext is a context of the host's.
type aioContext struct {
	host uintptr // its id on the host

	live sync.RWMutex // held to read while iocbs may be used
	gone bool

	mu    sync.Mutex
	iocbs []byte       // the host's requests, one for each slot; their addresses stay
	slots []aioRequest // by what the host's io_event.data says
	free  []int
}

// aioRequest is what the payload knows of a request.
type aioRequest struct {
	iocb, data uint64
	busy       bool
}

const (
	sizeIocb    = 64
	sizeIoEvent = 32
	aioPageSize = 4096
	aioBatch    = 128 // requests translated at a time

	// Places in struct iocb (linux/aio_abi.h), in bytes.
	iocbData   = 0
	iocbKey    = 8
	iocbOpcode = 16
	iocbFD     = 20
	iocbBuf    = 24
	iocbBytes  = 32
	iocbFlags  = 56
	iocbResFD  = 60

	aioPread, aioPwrite   = 0, 1
	aioFsync, aioFdsync   = 2, 3
	aioPoll               = 5
	aioPreadv, aioPwritev = 7, 8
	aioFlagResFD          = 1
)

func aioSetup(t task, a args) uint64 {
	old, e := usermem.ReadUint64(a[1])
	if e != 0 {
		return fail(e)
	}
	if old != 0 || uint32(a[0]) == 0 {
		return fail(unix.EINVAL)
	}
	id := t.Process().MapAnonymous(aioPageSize)
	if e := hypercall.Errno(id); e != 0 {
		return fail(e)
	}
	c, e := newAIOContext(uintptr(uint32(a[0])))
	if e == 0 {
		if e = usermem.WriteUint64(a[1], id); e != 0 {
			c.destroy()
		}
	}
	if e != 0 {
		t.Process().Unmap(id, aioPageSize)
		return fail(e)
	}
	aioContexts.Lock()
	defer aioContexts.Unlock()
	if aioContexts.byID == nil {
		aioContexts.byID = map[uint64]*aioContext{}
	}
	aioContexts.byID[id] = c
	return 0
}

func aioFind(id uint64) *aioContext {
	aioContexts.Lock()
	defer aioContexts.Unlock()
	return aioContexts.byID[id]
}

// aioDestroy waits for all requests of the context, as on Linux.
func aioDestroy(t task, a args) uint64 {
	aioContexts.Lock()
	c := aioContexts.byID[a[0]]
	delete(aioContexts.byID, a[0])
	aioContexts.Unlock()
	if c == nil {
		return fail(unix.EINVAL)
	}
	c.destroy()
	t.Process().Unmap(a[0], aioPageSize)
	return 0
}

func (c *aioContext) destroy() {
	c.live.Lock()
	defer c.live.Unlock()
	c.gone = true
	slow(unix.SYS_IO_DESTROY, c.host, 0, 0, 0, 0, 0)
	unix.Munmap(c.iocbs)
}

func aioSubmit(t task, a args) uint64 {
	c := aioFind(a[0])
	if c == nil || int64(a[1]) < 0 {
		return fail(unix.EINVAL)
	}
	c.live.RLock()
	defer c.live.RUnlock()
	if c.gone {
		return fail(unix.EINVAL)
	}
	done, n := uint64(0), min(a[1], uint64(len(c.slots)))
	for done < n {
		batch := min(n-done, aioBatch)
		r := c.submit(t, a[2]+8*done, int(batch))
		if hypercall.Errno(r) != 0 {
			if done > 0 {
				break
			}
			return r
		}
		if done += r; r < batch {
			break
		}
	}
	return done
}

// submit submits up to n requests whose addresses are at gva: the number that
// the kernel took, or the error of the first.
func (c *aioContext) submit(t task, gva uint64, n int) uint64 {
	list := t.Scratch().Alloc(8 * n)
	var slots [aioBatch]int
	taken, bad := 0, unix.Errno(0)
	for ; taken < n; taken++ {
		at, e := usermem.ReadUint64(gva + 8*uint64(taken))
		if e == 0 {
			slots[taken], e = c.take(t, at)
		}
		if bad = e; e != 0 {
			break
		}
		put64(list.Bytes()[8*taken:], uint64(c.hostIocb(slots[taken])))
	}
	if taken == 0 {
		return fail(bad)
	}
	r := sleep(t, unix.SYS_IO_SUBMIT, c.host, uintptr(taken), list.Host(), 0, 0, 0)
	accepted := 0
	if hypercall.Errno(r) == 0 {
		accepted = int(r)
	}
	for _, s := range slots[accepted:taken] {
		c.release(s)
	}
	return r
}

// take translates the request at gva into a slot.
func (c *aioContext) take(t task, gva uint64) (int, unix.Errno) {
	var b [sizeIocb]byte
	if e := usermem.CopyIn(b[:], gva); e != 0 {
		return 0, e
	}
	if e := usermem.WriteUint32(gva+iocbKey, 0); e != 0 { // the kernel's KIOCB_KEY
		return 0, e
	}
	data := le64(b[iocbData:])
	put32(b[iocbFD:], uint32(hypercall.HostFD(t, uint64(le32(b[iocbFD:])))))
	if le32(b[iocbFlags:])&aioFlagResFD != 0 {
		put32(b[iocbResFD:], uint32(hypercall.HostFD(t, uint64(le32(b[iocbResFD:])))))
	}
	buf, n := le64(b[iocbBuf:]), le64(b[iocbBytes:])
	switch le32(b[iocbOpcode:]) & 0xffff {
	case aioPread, aioPwrite:
		put64(b[iocbBuf:], uint64(hypercall.Pointer(buf, n)))
	case aioPreadv, aioPwritev:
		put64(b[iocbBuf:], uint64(hypercall.IOVecs(t, buf, n)))
	case aioFsync, aioFdsync, aioPoll:
	default: // a later kernel's, whose addresses nobody has translated
		return 0, unix.EINVAL
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.free) == 0 {
		return 0, unix.EAGAIN
	}
	s := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.slots[s] = aioRequest{iocb: gva, data: data, busy: true}
	put64(b[iocbData:], uint64(s))
	copy(c.iocbs[s*sizeIocb:], b[:])
	return s, 0
}

// release makes a slot free again and returns what was in it.
func (c *aioContext) release(s int) aioRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.slots[s]
	c.slots[s] = aioRequest{}
	c.free = append(c.free, s)
	return r
}

// aioCancel finds the request by the payload's address of it; what can be
// cancelled at all is the kernel's to say.
func aioCancel(t task, a args) uint64 {
	key, e := usermem.ReadUint32(a[1] + iocbKey)
	if e != 0 {
		return fail(e)
	}
	c := aioFind(a[0])
	if key != 0 || c == nil {
		return fail(unix.EINVAL)
	}
	c.live.RLock()
	defer c.live.RUnlock()
	if c.gone {
		return fail(unix.EINVAL)
	}
	for s, r := range c.busy() {
		if r.busy && r.iocb == a[1] {
			m := t.Scratch().Alloc(sizeIoEvent)
			return raw(unix.SYS_IO_CANCEL, c.host, c.hostIocb(s), m.Host(), 0, 0, 0)
		}
	}
	return fail(unix.EINVAL)
}

// busy is a copy of the slots.
func (c *aioContext) busy() []aioRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]aioRequest(nil), c.slots...)
}
