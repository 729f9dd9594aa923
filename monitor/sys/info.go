package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/usermem"
)

var infoCalls = []entry{
	{unix.SYS_UNAME, uname},
}

// utsRelease is what marks a payload's kernel release; language bindings look
// for it.
const utsRelease = ".kontain.KVM"

const utsField = len(unix.Utsname{}.Sysname)

// uname gives the host's names, the marked release and what Process overrides.
func uname(t task, a args) uint64 {
	m := t.Scratch().Alloc(6 * utsField)
	if r := raw(unix.SYS_UNAME, m.Host(), 0, 0, 0, 0, 0); r != 0 {
		return r
	}
	u := utsnameOf(m)
	appendField(u.Release[:], utsRelease)
	t.Process().Uname(u)
	return fail(usermem.CopyOut(a[0], m.Bytes()))
}

// appendField appends to a NUL-terminated field, cutting what has no room.
func appendField(field []byte, s string) {
	n := 0
	for n < len(field)-1 && field[n] != 0 {
		n++
	}
	n += copy(field[n:len(field)-1], s)
	clear(field[n:])
}

const capSysResource = 24

// capable tells whether the calling thread has a capability in effect.
func capable(c uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[c/32].Effective>>(c%32)&1 != 0
}
