package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var ioctlCalls = []entry{
	{unix.SYS_IOCTL, ioctl},
}

// reqKind is what the argument of an ioctl request is.
type reqKind uint8

const (
	reqUnknown reqKind = iota // not listed: its number decides
	reqInt                    // an integer, or none
	reqGuess                  // probably an integer; passed so that it can not be an address of the monitor's
	reqPtr                    // pointer to a structure without addresses
	reqFD                     // descriptor
	reqNewFD                  // an integer; the result is a descriptor
	reqRefuse                 // ENOTTY: addresses inside that are not translated
	reqSpecial                // a function in ioctlSpecial
)

// request is a row of ioctlRequests. size is that of a Ptr's structure.
type request struct {
	cmd  uint32
	kind reqKind
	size uint16
}

// The fields of a request's number (asm-generic/ioctl.h).
func reqType(cmd uint32) uint8 { return uint8(cmd >> 8) }
func reqSize(cmd uint32) int   { return int(cmd >> 16 & 0x3fff) }
func reqSized(cmd uint32) bool { return cmd>>30 != 0 && reqSize(cmd) != 0 }

// flatTypes are request types whose sized structures hold no addresses but for
// the requests listed. A request of any other type is refused: an address
// inside would be taken for one of the monitor's.
var flatTypes = [256]bool{
	'T': true, 0x89: true, // terminals, tun; sockets
	'f': true, 'v': true, 'r': true, // filesystems, vfat
	0x12: true,                                             // block devices
	'E':  true, 'R': true, 'p': true, 'W': true, '=': true, // evdev, random, rtc, watchdog, ptp
	0x8a: true, 0xb7: true, 0xff: true, 0xfd: true, // epoll, nsfs, pidfd, device mapper
}

// findRequest looks a request up in the sorted table, or judges it by its type.
func findRequest(cmd uint32) request {
	lo, hi := 0, len(ioctlRequests)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if ioctlRequests[mid].cmd < cmd {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(ioctlRequests) && ioctlRequests[lo].cmd == cmd {
		return ioctlRequests[lo]
	}
	switch {
	case reqSized(cmd) && flatTypes[reqType(cmd)]:
		return request{cmd, reqPtr, uint16(reqSize(cmd))}
	case cmd>>16 == 0 && flatTypes[reqType(cmd)] && reqType(cmd) != 0x89:
		return request{cmd, reqGuess, 0}
	}
	return request{cmd, reqRefuse, 0}
}

func ioctl(t task, a args) uint64 {
	cmd := uint32(a[1])
	fd, arg := hypercall.HostFD(t, a[0]), uintptr(a[2])
	req := findRequest(cmd)
	switch req.kind {
	case reqPtr:
		arg = hypercall.Pointer(a[2], uint64(req.size))
	case reqFD:
		arg = hypercall.HostFD(t, a[2])
	case reqInt, reqNewFD:
	case reqGuess:
		arg = plainInt(a[2])
	case reqSpecial:
		return ioctlSpecial(t, req.cmd, a)
	default:
		return ioctlRefused(t, a)
	}
	r := sleep(t, unix.SYS_IOCTL, fd, uintptr(cmd), arg, 0, 0, 0)
	if req.kind == reqNewFD {
		return hypercall.NewFD(t, r)
	}
	return r
}

// plainInt is an integer argument as the host may see it. Should a driver take
// it for an address after all, it must be none of the monitor's: numbers that
// could be become addresses of the payload.
func plainInt(v uint64) uintptr {
	const lowest = 0x10000 // nothing is mapped below
	if v < lowest || int64(v) < 0 || v >= 0x8000_0000 && v <= 0xffff_ffff {
		return uintptr(int64(int32(v)))
	}
	return hypercall.Pointer(v, 1)
}

// ioctlRefused gives ENOTTY, if the descriptor is good.
func ioctlRefused(t task, a args) uint64 {
	cmd := uint32(a[1])
	if r := raw(unix.SYS_FCNTL, hypercall.HostFD(t, a[0]), unix.F_GETFD, 0, 0, 0, 0); hypercall.Errno(r) != 0 {
		return r
	}
	if reqType(cmd) != kvmIO { // programs ask for KVM to see whether it is there
		t.Process().Notef("ioctl requests whose structures may hold addresses are refused with ENOTTY; the first was %#x", cmd)
	}
	return fail(unix.ENOTTY)
}

const kvmIO = 0xae

// Requests that need more than a look at the table.
const (
	siocGIFCONF  = 0x8912
	siocETHTOOL  = 0x8946
	ficloneRange = 0x4020940d
	fidedupe     = 0xc0189436
	loopConfig   = 0x4c0a
)

func ioctlSpecial(t task, cmd uint32, a args) uint64 {
	switch cmd {
	case siocGIFCONF:
		return ioctlStruct(t, a, 16, func(b []byte) {
			if p := le64(b[8:]); p != 0 {
				put64(b[8:], uint64(hypercall.Pointer(p, uint64(max(0, int32(le32(b)))))))
			}
		}, 4)
	case siocETHTOOL:
		const ifreq, data, ethtoolCmd = 40, 16, 44
		return ioctlStruct(t, a, ifreq, func(b []byte) {
			put64(b[data:], uint64(hypercall.Pointer(le64(b[data:]), ethtoolCmd)))
		}, 0)
	case ficloneRange, loopConfig:
		size := 32
		if cmd == loopConfig {
			size = 304
		}
		return ioctlStruct(t, a, size, func(b []byte) { put32(b, uint32(hypercall.HostFD(t, uint64(le32(b))))) }, 0)
	}
	return dedupe(t, a)
}

// ioctlStruct makes a request with a changed copy of its structure, of which the
// first back bytes are written back.
func ioctlStruct(t task, a args, size int, change func([]byte), back int) uint64 {
	m := t.Scratch().Alloc(size)
	if e := usermem.CopyIn(m.Bytes(), a[2]); e != 0 {
		return fail(e)
	}
	change(m.Bytes())
	r := sleep(t, unix.SYS_IOCTL, hypercall.HostFD(t, a[0]), uintptr(a[1]), m.Host(), 0, 0, 0)
	if hypercall.Errno(r) == 0 && back > 0 {
		if e := usermem.CopyOut(a[2], m.Bytes()[:back]); e != 0 {
			return fail(e)
		}
	}
	return r
}

// dedupe serves FIDEDUPERANGE, which names its destinations in a list.
func dedupe(t task, a args) uint64 {
	const header, info, count, destFD, most = 24, 32, 16, 0, 4096
	var head [header]byte
	if e := usermem.CopyIn(head[:], a[2]); e != 0 {
		return fail(e)
	}
	n := header + info*int(uint16(le32(head[count:])))
	if n > most {
		return fail(unix.ENOMEM) // the kernel's bound is a page too
	}
	return ioctlStruct(t, a, n, func(b []byte) {
		for i := header; i+info <= len(b); i += info {
			put64(b[i+destFD:], uint64(int64(int32(hypercall.HostFD(t, le64(b[i+destFD:]))))))
		}
	}, n)
}
