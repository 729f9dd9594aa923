package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// scheduling is what the scheduler knows of a thread. Anybody with the right to
// may change it, from outside as well.
type scheduling struct {
	cpus   unix.CPUSet
	attr   unix.SchedAttr
	ioprio uint64
}

const (
	ioprioWhoProcess   = 1
	schedResetOnFork   = 1
	schedNormal        = 0
	schedFIFO, schedRR = 1, 2
	schedDeadline      = 6
)

func (s *scheduling) read(tid int) {
	unix.SchedGetaffinity(tid, &s.cpus)
	if a, err := unix.SchedGetAttr(tid, 0); err == nil {
		s.attr = *a
	}
	s.ioprio = raw(unix.SYS_IOPRIO_GET, ioprioWhoProcess, uintptr(tid), 0, 0, 0, 0)
}

// adopt gives the calling thread what Linux would give a new one. The host may
// forbid what somebody else was allowed to do to the maker: then the
// thread keeps what it has.
func (s *scheduling) adopt() {
	var have scheduling
	have.read(0)
	if s.cpus != have.cpus {
		unix.SchedSetaffinity(0, &s.cpus)
	}
	want := ofChild(s.attr)
	if want != have.attr && want.Size != 0 {
		unix.SchedSetAttr(0, &want, 0)
	}
	if s.ioprio != have.ioprio && hypercall.Errno(s.ioprio) == 0 {
		raw(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, uintptr(s.ioprio), 0, 0, 0)
	}
}

// ofChild applies SCHED_RESET_ON_FORK.
func ofChild(a unix.SchedAttr) unix.SchedAttr {
	if a.Flags&schedResetOnFork == 0 {
		return a
	}
	a.Flags &^= schedResetOnFork
	switch a.Policy {
	case schedFIFO, schedRR, schedDeadline:
		a.Policy, a.Priority, a.Nice = schedNormal, 0, 0
		a.Runtime, a.Deadline, a.Period = 0, 0, 0
	}
	a.Nice = max(a.Nice, 0)
	return a
}

// memPolicy is a thread's NUMA memory policy.
type memPolicy struct {
	mode  int32
	nodes [16]uint64
}

const maxNodes = 1024

func (p *memPolicy) read() {
	raw(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&p.mode)), uintptr(unsafe.Pointer(&p.nodes)), maxNodes, 0, 0, 0)
}

func (p *memPolicy) adopt() {
	mask, n := uintptr(unsafe.Pointer(&p.nodes)), uintptr(maxNodes)
	if p.nodes == [16]uint64{} {
		mask, n = 0, 0
	}
	raw(unix.SYS_SET_MEMPOLICY, uintptr(p.mode), mask, n, 0, 0, 0)
}
