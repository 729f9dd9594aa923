package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/usermem"
)

var infoCalls = []entry{
	{unix.SYS_UNAME, uname},
}

const utsField = len(unix.Utsname{}.Sysname)

// uname gives the host's names as Process changes them.
func uname(t task, a args) uint64 {
	m := t.Scratch().Alloc(6 * utsField)
	if r := raw(unix.SYS_UNAME, m.Host(), 0, 0, 0, 0, 0); r != 0 {
		return r
	}
	t.Process().Uname(utsnameOf(m))
	return fail(usermem.CopyOut(a[0], m.Bytes()))
}

const capSysResource = 24

// capable tells whether the calling thread has a capability in effect.
func capable(c uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[c/32].Effective>>(c%32)&1 != 0
}
