package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/confine"
	"kmdev/monitor/hypercall"
)

// ownRights makes the host's answer to a prctl call the payload's: the no_new_privs that the monitor's filter may need is not
// the payload's.
func ownRights(a args, r uint64) uint64 {
	if hypercall.Errno(r) != 0 {
		return r
	}
	switch uint32(a[0]) {
	case unix.PR_SET_NO_NEW_PRIVS:
		confine.PayloadSetsNoNewPrivs()
	case unix.PR_GET_NO_NEW_PRIVS:
		if !confine.PayloadNoNewPrivs(r != 0) {
			return 0
		}
	}
	return r
}
