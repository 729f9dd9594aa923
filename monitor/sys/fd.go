package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var fdCalls = []entry{
	{unix.SYS_DUP2, dup2},
	{unix.SYS_DUP3, dup3},
	{unix.SYS_CLOSE_RANGE, closeRange},
	{unix.SYS_PIPE, func(t task, a args) uint64 { return pair(t, a[0], unix.SYS_PIPE2, 0, 0, 0) }},
	{unix.SYS_PIPE2, func(t task, a args) uint64 { return pair(t, a[0], unix.SYS_PIPE2, a[1], 0, 0) }},
	{unix.SYS_SOCKETPAIR, func(t task, a args) uint64 { return pair(t, a[3], unix.SYS_SOCKETPAIR, a[0], a[1], a[2]) }},
	{unix.SYS_FCNTL, fcntl},
}

func dup2(t task, a args) uint64 {
	if !hypercall.ValidFD(t, a[1]) {
		return fail(unix.EBADF)
	}
	return sleep(t, unix.SYS_DUP2, hypercall.HostFD(t, a[0]), uintptr(a[1]), 0, 0, 0, 0)
}

func dup3(t task, a args) uint64 {
	if !hypercall.ValidFD(t, a[1]) {
		// Linux looks at the flags and at old == new first.
		if uint32(a[2])&^unix.O_CLOEXEC != 0 || uint32(a[0]) == uint32(a[1]) {
			return fail(unix.EINVAL)
		}
		return fail(unix.EBADF)
	}
	return sleep(t, unix.SYS_DUP3, hypercall.HostFD(t, a[0]), uintptr(a[1]), uintptr(a[2]), 0, 0, 0)
}

// closeRange keeps the range out of the monitor's. A table of its own
// (CLOSE_RANGE_UNSHARE) is what a single-threaded payload has already.
func closeRange(t task, a args) uint64 {
	first, last, flags := uint32(a[0]), uint32(a[1]), uint32(a[2])
	if flags&^(unix.CLOSE_RANGE_UNSHARE|unix.CLOSE_RANGE_CLOEXEC) != 0 || first > last {
		return fail(unix.EINVAL)
	}
	if flags&unix.CLOSE_RANGE_UNSHARE != 0 && t.Process().Threads() > 1 {
		t.Process().Notef("close_range(CLOSE_RANGE_UNSHARE) by a thread: its descriptors stay shared with the other threads")
	}
	limit := uint32(t.FDLimit())
	if first >= limit {
		return 0
	}
	last = min(last, limit-1)
	return sleep(t, unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(last), uintptr(flags&^unix.CLOSE_RANGE_UNSHARE), 0, 0, 0)
}

// pair serves the calls that make two descriptors and write them to memory.
// socketpair writes them before it makes the files known, pipe after: either
// way nothing is left open if the memory is bad.
func pair(t task, gva uint64, nr uintptr, a0, a1, a2 uint64) uint64 {
	m := t.Scratch().Alloc(8)
	var r uint64
	if nr == unix.SYS_PIPE2 {
		r = raw(nr, m.Host(), uintptr(a0), 0, 0, 0, 0)
	} else {
		r = raw(nr, uintptr(a0), uintptr(a1), uintptr(a2), m.Host(), 0, 0)
	}
	if r != 0 {
		return r
	}
	fds := [2]uint32{m.Uint32(0), m.Uint32(4)}
	e := unix.Errno(0)
	if limit := uint32(t.FDLimit()); fds[0] >= limit || fds[1] >= limit {
		e = unix.EMFILE
	} else {
		e = usermem.CopyOut(gva, m.Bytes())
	}
	if e != 0 {
		closeFD(int(fds[0]))
		closeFD(int(fds[1]))
	}
	return fail(e)
}

// fcntlArg is what the argument of an fcntl command is.
type fcntlArg uint8

const (
	fcntlUnknown fcntlArg = iota
	fcntlInt              // an integer, or none
	fcntlPtr              // pointer to a structure without pointers
	fcntlFD               // descriptor to look at
	fcntlDup              // smallest new descriptor; the result is one
)

// Commands that x/sys does not name.
const (
	fSetSig         = 10
	fGetSig         = 11
	fSetOwnEx       = 15
	fGetOwnEx       = 16
	fGetOwnerUIDs   = 17
	fDupFDQuery     = fLinuxBase + 3
	fCreatedQuery   = fLinuxBase + 4
	fCancelLock     = fLinuxBase + 5
	fLinuxBase      = 1024
	fcntlStructSize = 32 // struct flock, the largest
)

var fcntlArgs = [...]struct {
	cmd  uint32
	kind fcntlArg
}{
	{unix.F_DUPFD, fcntlDup}, {unix.F_GETFD, fcntlInt}, {unix.F_SETFD, fcntlInt},
	{unix.F_GETFL, fcntlInt}, {unix.F_SETFL, fcntlInt},
	{unix.F_GETLK, fcntlPtr}, {unix.F_SETLK, fcntlPtr}, {unix.F_SETLKW, fcntlPtr},
	{unix.F_SETOWN, fcntlInt}, {unix.F_GETOWN, fcntlInt}, {fSetSig, fcntlInt}, {fGetSig, fcntlInt},
	{fSetOwnEx, fcntlPtr}, {fGetOwnEx, fcntlPtr}, {fGetOwnerUIDs, fcntlPtr},
	{unix.F_OFD_GETLK, fcntlPtr}, {unix.F_OFD_SETLK, fcntlPtr}, {unix.F_OFD_SETLKW, fcntlPtr},
	{unix.F_SETLEASE, fcntlInt}, {unix.F_GETLEASE, fcntlInt}, {unix.F_NOTIFY, fcntlInt},
	{fDupFDQuery, fcntlFD}, {fCreatedQuery, fcntlInt}, {fCancelLock, fcntlPtr},
	{unix.F_DUPFD_CLOEXEC, fcntlDup}, {unix.F_SETPIPE_SZ, fcntlInt}, {unix.F_GETPIPE_SZ, fcntlInt},
	{unix.F_ADD_SEALS, fcntlInt}, {unix.F_GET_SEALS, fcntlInt},
	{unix.F_GET_RW_HINT, fcntlPtr}, {unix.F_SET_RW_HINT, fcntlPtr},
	{unix.F_GET_FILE_RW_HINT, fcntlPtr}, {unix.F_SET_FILE_RW_HINT, fcntlPtr},
}

func fcntl(t task, a args) uint64 {
	fd, cmd, arg := hypercall.HostFD(t, a[0]), uint32(a[1]), uintptr(a[2])
	kind := fcntlUnknown
	for i := range fcntlArgs {
		if fcntlArgs[i].cmd == cmd {
			kind = fcntlArgs[i].kind
			break
		}
	}
	switch kind {
	case fcntlPtr:
		arg = hypercall.Pointer(a[2], fcntlStructSize)
	case fcntlFD:
		arg = hypercall.HostFD(t, a[2])
	case fcntlDup:
		if arg > uintptr(t.FDLimit()-1) {
			arg = ^uintptr(0) // EBADF or EINVAL, as the kernel finds
		}
		return hypercall.NewFD(t, raw(unix.SYS_FCNTL, fd, uintptr(cmd), arg, 0, 0, 0))
	case fcntlUnknown:
		// The argument might be a pointer, which only a known command
		// can translate. The host tells a bad descriptor first.
		cmd, arg = ^uint32(0), 0
	}
	return sleep(t, unix.SYS_FCNTL, fd, uintptr(cmd), arg, 0, 0, 0)
}

func le32(b []byte) uint32     { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64     { return binary.LittleEndian.Uint64(b) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
