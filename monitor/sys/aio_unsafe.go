package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// aioRing is the head of the kernel's struct aio_ring.
type aioRing struct {
	id, nr uint32
}

// newAIOContext makes a context on the host with room for events, and as many
// slots as its ring really has.
func newAIOContext(events uintptr) (*aioContext, unix.Errno) {
	var host uintptr
	if _, e := slow(unix.SYS_IO_SETUP, events, uintptr(unsafe.Pointer(&host)), 0, 0, 0, 0); e != 0 {
		return nil, e
	}
	n := int((*aioRing)(unsafe.Pointer(host)).nr)
	iocbs, err := unix.Mmap(-1, 0, n*sizeIocb, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		slow(unix.SYS_IO_DESTROY, host, 0, 0, 0, 0, 0)
		return nil, errnoOf(err)
	}
	c := &aioContext{host: host, iocbs: iocbs, slots: make([]aioRequest, n), free: make([]int, n)}
	for i := range c.free {
		c.free[i] = n - 1 - i
	}
	return c, 0
}

// hostIocb is the address of a slot's request on the host.
func (c *aioContext) hostIocb(slot int) uintptr {
	return uintptr(unsafe.Pointer(&c.iocbs[slot*sizeIocb]))
}
