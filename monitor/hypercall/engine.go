package hypercall

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
)

// PassThrough translates the arguments of a row by their types and makes the
// call on the host. Handlers use it too, for calls that their row's types
// cover. It allocates nothing.
func PassThrough(t Task, r *Row, a *[6]uint64) uint64 {
	if r.Serve&transfer != 0 {
		if f := transferring.Load(); f != nil {
			if res, ok := (*f)(t, r, a); ok {
				return res
			}
		}
	}
	h := Translate(t, r, a)
	return Call(t, r, &h)
}

// Transfer serves a read or write of a file that only looks like one of the
// host's. ok is false if it is any other file.
type Transfer func(t Task, r *Row, a *[6]uint64) (res uint64, ok bool)

var transferring atomic.Pointer[Transfer]

// SetTransfer makes f see every read and write (readv, pwrite64 …) from now on.
// Package sys does so when a payload opens its /proc/self/mem.
func SetTransfer(f Transfer) { transferring.Store(&f) }

// Translate returns the arguments as the host is to see them. Arguments of
// kind Any, Msghdr, Mmsghdr and StrArray are for the handler: they come out as
// an address that faults.
func Translate(t Task, r *Row, a *[6]uint64) [6]uintptr {
	h := [6]uintptr{uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5])}
	for i := range r.Args {
		if ty := r.Args[i].Type; ty.Kind() >= Addr {
			translate(t, r, ty, i, a, &h)
		}
	}
	return h
}

// Call makes a row's call on the host with arguments that are translated
// already, and turns an interruption or a new descriptor into what the
// run loop expects.
func Call(t Task, r *Row, h *[6]uintptr) uint64 {
	var res uint64
	if r.Serve.Sleeping() {
		res = Interrupted(t.Sleep(uintptr(r.Nr), h[0], h[1], h[2], h[3], h[4], h[5]))
		if r.Serve&final != 0 && res == Err(ERESTARTNOHAND) {
			return Err(unix.EINTR)
		}
	} else {
		res = uint64(hostcall.Raw(uintptr(r.Nr), h[0], h[1], h[2], h[3], h[4], h[5]))
	}
	if r.Ret == FD {
		return NewFD(t, res)
	}
	return res
}

// Interrupted turns the result of Task.Sleep into the run loop's: EINTR stands
// only if a handler of the payload's runs; after a kick the call goes on.
func Interrupted(res uintptr) uint64 {
	if r := uint64(res); r != Err(unix.EINTR) {
		return r
	}
	return Err(ERESTARTNOHAND)
}

// NewFD checks a descriptor that the host has just made: one beyond the
// payload's limit is closed and becomes EMFILE.
func NewFD(t Task, res uint64) uint64 {
	if res < uint64(t.FDLimit()) || Errno(res) != 0 {
		return res
	}
	hostcall.Raw(unix.SYS_CLOSE, uintptr(res), 0, 0, 0, 0, 0)
	return Err(unix.EMFILE)
}

// ValidFD tells whether a descriptor number may be the payload's. Of those the
// kernel knows which are open.
func ValidFD(t Task, fd uint64) bool {
	return uint32(fd) < uint32(t.FDLimit())
}

// ClosedFD is a descriptor that is never open: larger than any limit.
const ClosedFD = 0x7fffffff

// HostFD is a payload's descriptor as the host may see it: one of the monitor's
// becomes ClosedFD, for which the kernel finds EBADF in its own order of checks.
// Negative numbers (AT_FDCWD, PIDFD_SELF) keep their meaning.
func HostFD(t Task, fd uint64) uintptr {
	if int32(fd) >= int32(t.FDLimit()) {
		return ClosedFD
	}
	return uintptr(fd)
}
