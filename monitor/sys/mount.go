package sys

import (
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var mountCalls = []entry{
	{unix.SYS_MOUNT, mount},
	{unix.SYS_QUOTACTL, quotactl},
	{unix.SYS_QUOTACTL_FD, quotactlFD},
	{unix.SYS_FSCONFIG, fsconfig},
	{unix.SYS_OPEN_TREE, func(t task, a args) uint64 { return openTree(t, unix.SYS_OPEN_TREE, a) }},
	{unix.SYS_OPEN_TREE_ATTR, func(t task, a args) uint64 { return openTree(t, unix.SYS_OPEN_TREE_ATTR, a) }},
}

// mount passes text options. Binary data is what old NFS mounts have: with
// addresses inside.
func mount(t task, a args) uint64 {
	if a[4] != 0 {
		fs, e := usermem.ReadString(a[2], 64)
		var first [1]byte
		if e == 0 && strings.HasPrefix(fs, "nfs") && usermem.CopyIn(first[:], a[4]) == 0 && first[0] > 0 && first[0] < ' ' {
			return fail(unix.EINVAL)
		}
	}
	return pass(t, unix.SYS_MOUNT, a)
}

// quotaText are the quotactl commands whose argument is a path, quotaSizes the
// largest structure of the others.
const (
	quotaOn     = 0x800002
	quotaShift  = 8
	quotaStruct = 256
)

func quotaArg(cmd, addr uint64) uintptr {
	if uint32(cmd)>>quotaShift == quotaOn {
		return hypercall.PointerOrNil(addr, 1)
	}
	return hypercall.PointerOrNil(addr, quotaStruct)
}

func quotactl(t task, a args) uint64 {
	return sleep(t, unix.SYS_QUOTACTL, uintptr(a[0]), hypercall.PointerOrNil(a[1], 1), uintptr(a[2]), quotaArg(a[0], a[3]), 0, 0)
}

func quotactlFD(t task, a args) uint64 {
	return sleep(t, unix.SYS_QUOTACTL_FD, hypercall.HostFD(t, a[0]), uintptr(a[1]), uintptr(a[2]), quotaArg(a[1], a[3]), 0, 0)
}

// fsconfig commands, by what their value is.
func fsconfig(t task, a args) uint64 {
	value, aux := uintptr(0), uintptr(a[4])
	switch a[1] {
	case unix.FSCONFIG_SET_STRING, unix.FSCONFIG_SET_PATH, unix.FSCONFIG_SET_PATH_EMPTY:
		value = hypercall.PointerOrNil(a[3], 1)
		if a[1] != unix.FSCONFIG_SET_STRING {
			aux = hypercall.HostFD(t, a[4])
		}
	case unix.FSCONFIG_SET_BINARY:
		value = hypercall.PointerOrNil(a[3], uint64(uint32(a[4])))
	case unix.FSCONFIG_SET_FD:
		aux = hypercall.HostFD(t, a[4])
	}
	if value == 0 && a[3] != 0 {
		return fail(unix.EINVAL)
	}
	return sleep(t, unix.SYS_FSCONFIG, hypercall.HostFD(t, a[0]), uintptr(a[1]), hypercall.PointerOrNil(a[2], 1), value, aux, 0)
}

// openTree opens the path as any other first: what it gives is a descriptor
// from which the object can be opened.
func openTree(t task, nr int, a args) uint64 {
	h := hypercall.Translate(t, hypercall.Lookup(nr), a)
	name, e := readPath(a[1])
	if e != 0 || name == "" {
		return hypercall.Call(t, hypercall.Lookup(nr), &h)
	}
	how := how{flags: unix.O_PATH | unix.O_CLOEXEC}
	if a[2]&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how.flags |= unix.O_NOFOLLOW
	}
	r := open(t, a[0], a[1], how)
	if hypercall.Errno(r) != 0 {
		return r
	}
	got, e := slow(uintptr(nr), uintptr(r), scratchPath(t, ""), h[2]|unix.AT_EMPTY_PATH, h[3], h[4], 0)
	if e == 0 { // under the lower number
		e = errnoOf0(unix.Dup3(int(got), int(r), int(a[2]&unix.O_CLOEXEC)))
		closeFD(int(got))
	}
	if e != 0 {
		closeFD(int(r))
		return fail(e)
	}
	return r
}
