package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var socketCalls = []entry{
	{unix.SYS_SENDMSG, sendmsg},
	{unix.SYS_RECVMSG, recvmsg},
	{unix.SYS_SENDMMSG, sendmmsg},
	{unix.SYS_RECVMMSG, recvmmsg},
	{unix.SYS_SETSOCKOPT, setsockopt},
	{unix.SYS_GETSOCKOPT, getsockopt},
}

// struct msghdr and mmsghdr.
const (
	msgName       = 0
	msgNamelen    = 8
	msgIov        = 16
	msgIovlen     = 24
	msgControl    = 32
	msgControllen = 40
	msgFlags      = 48
	sizeMsghdr    = 56
	mmsgLen       = 56
	sizeMmsghdr   = 64
)

const (
	// maxControl is more than any kernel takes (net.core.optmem_max).
	maxControl = 1 << 20
	// tooMuchControl makes the kernel answer ENOBUFS.
	tooMuchControl = 1 << 31
	// maxBatch is how many messages one call handles (UIO_MAXIOV), and
	// batchBytes how much scratch memory the array may take: fewer
	// messages than asked for is a result that callers expect.
	maxBatch   = 1024
	batchBytes = 4 << 20
)

// sending translates a msghdr in place for sendmsg. Control messages are
// copied: descriptors in them are checked.
func sending(t task, h []byte) {
	translateMsg(t, h)
	n := le64(h[msgControllen:])
	switch {
	case n == 0:
		return
	case n > maxControl:
		put64(h[msgControllen:], tooMuchControl)
		return
	}
	c := t.Scratch().Alloc(int(n))
	if c.Host() == 0 || usermem.CopyIn(c.Bytes(), le64(h[msgControl:])) != 0 {
		put64(h[msgControl:], uint64(hypercall.Pointer(^uint64(0), 1)))
		return
	}
	checkRights(t, c.Bytes())
	put64(h[msgControl:], uint64(c.Host()))
}

// translateMsg translates name and iovecs.
func translateMsg(t task, h []byte) {
	if name := le64(h[msgName:]); name != 0 {
		put64(h[msgName:], uint64(hypercall.Pointer(name, maxName)))
	}
	put64(h[msgIov:], uint64(hypercall.IOVecs(t, le64(h[msgIov:]), le64(h[msgIovlen:]))))
}

// maxName is the longest address: sizeof(struct sockaddr_storage).
const maxName = 128

// checkRights makes the monitor's descriptors in SCM_RIGHTS bad ones.
func checkRights(t task, c []byte) {
	const header = 16 // len, level, type
	for len(c) >= header {
		n := le64(c)
		if n < header || n > uint64(len(c)) {
			return // the kernel stops here too
		}
		if le32(c[8:]) == unix.SOL_SOCKET && le32(c[12:]) == unix.SCM_RIGHTS {
			for fds := c[header:n]; len(fds) >= 4; fds = fds[4:] {
				put32(fds, uint32(hypercall.HostFD(t, uint64(le32(fds)))))
			}
		}
		c = c[min(uint64(len(c)), (n+7)&^7):]
	}
}

// receiving translates a msghdr in place for recvmsg.
func receiving(t task, h []byte) {
	translateMsg(t, h)
	if c := le64(h[msgControl:]); c != 0 {
		put64(h[msgControl:], uint64(hypercall.Pointer(c, le64(h[msgControllen:]))))
	}
}

// received writes back what recvmsg changes of a msghdr.
func received(gva uint64, h []byte) unix.Errno {
	e := usermem.CopyOut(gva+msgNamelen, h[msgNamelen:msgNamelen+4])
	if e == 0 {
		e = usermem.CopyOut(gva+msgControllen, h[msgControllen:msgFlags+4])
	}
	return e
}

func sendmsg(t task, a args) uint64 {
	h := t.Scratch().Alloc(sizeMsghdr)
	p := h.Host()
	if usermem.CopyIn(h.Bytes(), a[1]) == 0 {
		sending(t, h.Bytes())
	} else {
		p = hypercall.Pointer(a[1], sizeMsghdr) // the host finds the error
	}
	return sleep(t, unix.SYS_SENDMSG, hypercall.HostFD(t, a[0]), p, uintptr(a[2]), 0, 0, 0)
}

func recvmsg(t task, a args) uint64 {
	h := t.Scratch().Alloc(sizeMsghdr)
	if usermem.CopyIn(h.Bytes(), a[1]) != 0 {
		return sleep(t, unix.SYS_RECVMSG, hypercall.HostFD(t, a[0]), hypercall.Pointer(a[1], sizeMsghdr), uintptr(a[2]), 0, 0, 0)
	}
	receiving(t, h.Bytes())
	r := sleep(t, unix.SYS_RECVMSG, hypercall.HostFD(t, a[0]), h.Host(), uintptr(a[2]), 0, 0, 0)
	if hypercall.Errno(r) == 0 {
		if e := received(a[1], h.Bytes()); e != 0 {
			return fail(e)
		}
	}
	return r
}

// batch copies an array of mmsghdr and translates each. It returns the copy and
// how many entries there are: fewer than asked for if one can't be
// read or there is too much. None is readable if n is 0.
func batch(t task, gva, vlen uint64, translate func(task, []byte)) (m hypercall.Mem, n int) {
	want := int(min(uint32(vlen), maxBatch))
	m = t.Scratch().Alloc(want * sizeMmsghdr)
	b := m.Bytes()
	for n < want && (n == 0 || t.Scratch().Total() < batchBytes) {
		h := b[n*sizeMmsghdr:][:sizeMmsghdr]
		if usermem.CopyIn(h, gva+uint64(n)*sizeMmsghdr) != 0 {
			break
		}
		translate(t, h)
		n++
	}
	return m, n
}

func sendmmsg(t task, a args) uint64 {
	m, n := batch(t, a[1], a[2], sending)
	p := m.Host()
	if n == 0 {
		n, p = int(min(uint32(a[2]), 1)), hypercall.Pointer(a[1], sizeMmsghdr)
	}
	r := sleep(t, unix.SYS_SENDMMSG, hypercall.HostFD(t, a[0]), p, uintptr(n), uintptr(a[3]), 0, 0)
	if hypercall.Errno(r) != 0 {
		return r
	}
	for i := range r {
		at := i*sizeMmsghdr + mmsgLen
		if usermem.CopyOut(a[1]+at, m.Bytes()[at:at+4]) != 0 {
			return i
		}
	}
	return r
}

func recvmmsg(t task, a args) uint64 {
	until := hypercall.Mem{}
	timeout := uintptr(0)
	if a[4] != 0 {
		until = t.Scratch().Alloc(sizeTimespec)
		if e := usermem.CopyIn(until.Bytes(), a[4]); e != 0 {
			return fail(e)
		}
		timeout = until.Host()
	}
	m, n := batch(t, a[1], a[2], receiving)
	p := m.Host()
	if n == 0 {
		n, p = int(min(uint32(a[2]), 1)), hypercall.Pointer(a[1], sizeMmsghdr)
	}
	r := sleep(t, unix.SYS_RECVMMSG, hypercall.HostFD(t, a[0]), p, uintptr(n), uintptr(a[3]), timeout, 0)
	if hypercall.Errno(r) != 0 {
		return r
	}
	for i := range r {
		at := i * sizeMmsghdr
		h := m.Bytes()[at : at+sizeMmsghdr]
		e := received(a[1]+at, h)
		if e == 0 {
			e = usermem.CopyOut(a[1]+at+mmsgLen, h[mmsgLen:mmsgLen+4])
		}
		if e != 0 {
			return fail(e)
		}
	}
	if r > 0 && a[4] != 0 {
		if e := usermem.CopyOut(a[4], until.Bytes()); e != 0 {
			return fail(e)
		}
	}
	return r
}

// sockopt names an option.
type sockopt struct{ level, name uint32 }

// Options whose value holds addresses that only the kernel module behind them
// could translate.
var (
	refusedSet = []sockopt{
		{unix.SOL_IP, 64}, {unix.SOL_IPV6, 64}, // iptables: counters
		{unix.SOL_IP, 96},                      // arptables
		{unix.SOL_IP, 128}, {unix.SOL_IP, 129}, // ebtables
		{unix.SOL_RDS, 2}, {unix.SOL_RDS, 7}, // memory registration
		{unix.SOL_XDP, unix.XDP_UMEM_REG},
		{unix.SOL_PACKET, unix.PACKET_FANOUT_DATA},
	}
	refusedGet = []sockopt{
		{unix.SOL_TCP, unix.TCP_ZEROCOPY_RECEIVE},
		{unix.SOL_IP, 128}, {unix.SOL_IP, 129}, {unix.SOL_IP, 130}, {unix.SOL_IP, 131},
		{132, 111}, // SCTP_SOCKOPT_CONNECTX3
	}
)

func refusedOption(t task, list []sockopt, a args) bool {
	o := sockopt{uint32(a[1]), uint32(a[2])}
	for _, r := range list {
		if r == o {
			t.Process().Notef("socket options with addresses inside (iptables, XDP, RDS, TCP_ZEROCOPY_RECEIVE …) are refused with ENOPROTOOPT")
			return true
		}
	}
	return false
}

func setsockopt(t task, a args) uint64 {
	if refusedOption(t, refusedSet, a) {
		return fail(unix.ENOPROTOOPT)
	}
	if uint32(a[1]) == unix.SOL_SOCKET {
		switch uint32(a[2]) {
		case unix.SO_ATTACH_FILTER, unix.SO_ATTACH_REUSEPORT_CBPF:
			return attachFilter(t, a)
		}
	}
	return pass(t, unix.SYS_SETSOCKOPT, a)
}

func getsockopt(t task, a args) uint64 {
	if refusedOption(t, refusedGet, a) {
		return fail(unix.ENOPROTOOPT)
	}
	return pass(t, unix.SYS_GETSOCKOPT, a)
}

// attachFilter translates a struct sock_fprog: a count, and the address of the
// instructions, which the kernel copies.
func attachFilter(t task, a args) uint64 {
	const size, insn = 16, 8
	m := t.Scratch().Alloc(size)
	p := m.Host()
	if a[4] != size || usermem.CopyIn(m.Bytes(), a[3]) != 0 {
		p = hypercall.Pointer(a[3], size) // the host finds the error
	} else {
		m.PutUint64(8, uint64(hypercall.Pointer(m.Uint64(8), uint64(uint16(m.Uint32(0)))*insn)))
	}
	return sleep(t, unix.SYS_SETSOCKOPT, hypercall.HostFD(t, a[0]), uintptr(a[1]), uintptr(a[2]), p, uintptr(a[4]), 0)
}
