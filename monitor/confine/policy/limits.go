package policy

import (
	"kmdev/monitor/kvm"
	"kmdev/monitor/sys"

	"golang.org/x/sys/unix"
)

// limit is a call of which only some arguments are allowed.
type limit struct {
	call string
	any  []Test
}

const (
	all     = ^uint32(0)
	shmExec = 0o100000
)

// limits: no memory of the monitor becomes executable (the payload's code runs in the guest, and the monitor's own was mapped
// by execve), of KVM only what package kvm asks for, and of prctl only the payload's options and the monitor's own.
func limits() []limit {
	never := func(arg int, bit uint32) []Test { return []Test{{Arg: arg, Mask: bit, Values: []uint32{0}}} }
	return []limit{
		{"mmap", never(2, unix.PROT_EXEC)},
		{"mprotect", never(2, unix.PROT_EXEC)},
		{"shmat", never(2, shmExec)},
		{"ioctl", []Test{
			{Arg: 1, Mask: all, Values: kvm.Requests()},
			{Arg: 1, Mask: kvm.RequestMask, Not: true, Values: []uint32{kvm.RequestType}},
		}},
		{"prctl", []Test{{Arg: 0, Mask: all, Values: append(sys.PrctlOptions(), ownOptions...)}}},
	}
}

// ownOptions are the monitor's prctl options.
var ownOptions = []uint32{
	unix.PR_SET_NAME, unix.PR_GET_NAME, // of threads
	unix.PR_SET_MM,           // where the payload's arguments are
	unix.PR_SET_VMA,          // Go names its mappings
	unix.PR_SET_NO_NEW_PRIVS, // only ever takes away
	unix.PR_GET_NO_NEW_PRIVS, // see package confine
	unix.PR_GET_SECCOMP,      // the same
}
