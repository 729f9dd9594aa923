package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var prctlCalls = []entry{
	{unix.SYS_PRCTL, Prctl},
}

// prctlArg says how an option's arguments are passed. Options that are not
// listed are EINVAL, as on a kernel that does not know them.
type prctlArg uint8

const (
	prctlInts   prctlArg = 1 + iota // integers, or none
	prctlPtr2                       // argument 2 is a pointer
	prctlTSC                        // the time stamp counter
	prctlAuxv                       // PR_GET_AUXV
	prctlCores                      // PR_SCHED_CORE
	prctlDenied                     // EPERM
)

// prctlOptions are those that mean the host's thread or process, and so the
// payload's. Left out on purpose:
//
//   - PR_SET_SYSCALL_USER_DISPATCH: it would catch the monitor's system calls;
//   - PR_GET_TID_ADDRESS, PR_SET_VMA, PR_SET_MDWE: they are about the host
//     process's own address space; EINVAL is a kernel built without. So is
//     PR_SET_MM, which is EPERM without CAP_SYS_RESOURCE;
//   - options of other processors.
var prctlOptions = [...]struct {
	option uint32
	kind   prctlArg
	size   uint16
}{
	{unix.PR_SET_PDEATHSIG, prctlInts, 0},
	{unix.PR_GET_PDEATHSIG, prctlPtr2, 4},
	{unix.PR_GET_DUMPABLE, prctlInts, 0},
	{unix.PR_SET_DUMPABLE, prctlInts, 0},
	{unix.PR_GET_KEEPCAPS, prctlInts, 0},
	{unix.PR_SET_KEEPCAPS, prctlInts, 0},
	{unix.PR_GET_TIMING, prctlInts, 0},
	{unix.PR_SET_TIMING, prctlInts, 0},
	{unix.PR_SET_NAME, prctlPtr2, 1},
	{unix.PR_GET_NAME, prctlPtr2, 16},
	{unix.PR_CAPBSET_READ, prctlInts, 0},
	{unix.PR_CAPBSET_DROP, prctlInts, 0},
	{unix.PR_GET_TSC, prctlTSC, 4},
	{unix.PR_SET_TSC, prctlTSC, 0},
	{unix.PR_GET_SECUREBITS, prctlInts, 0},
	{unix.PR_SET_SECUREBITS, prctlInts, 0},
	{unix.PR_SET_TIMERSLACK, prctlInts, 0},
	{unix.PR_GET_TIMERSLACK, prctlInts, 0},
	{unix.PR_TASK_PERF_EVENTS_DISABLE, prctlInts, 0},
	{unix.PR_TASK_PERF_EVENTS_ENABLE, prctlInts, 0},
	{unix.PR_MCE_KILL, prctlInts, 0},
	{unix.PR_MCE_KILL_GET, prctlInts, 0},
	{unix.PR_SET_CHILD_SUBREAPER, prctlInts, 0},
	{unix.PR_GET_CHILD_SUBREAPER, prctlPtr2, 4},
	{unix.PR_SET_NO_NEW_PRIVS, prctlInts, 0},
	{unix.PR_GET_NO_NEW_PRIVS, prctlInts, 0},
	{unix.PR_SET_THP_DISABLE, prctlInts, 0},
	{unix.PR_GET_THP_DISABLE, prctlInts, 0},
	{unix.PR_CAP_AMBIENT, prctlInts, 0},
	{unix.PR_GET_SPECULATION_CTRL, prctlInts, 0},
	{unix.PR_SET_SPECULATION_CTRL, prctlInts, 0},
	{unix.PR_SET_IO_FLUSHER, prctlInts, 0},
	{unix.PR_GET_IO_FLUSHER, prctlInts, 0},
	{unix.PR_SET_MM, prctlDenied, 0},
	{unix.PR_SCHED_CORE, prctlCores, 8},
	{unix.PR_GET_MDWE, prctlInts, 0},
	{unix.PR_SET_MEMORY_MERGE, prctlInts, 0},
	{unix.PR_GET_MEMORY_MERGE, prctlInts, 0},
	{unix.PR_TIMER_CREATE_RESTORE_IDS, prctlInts, 0},
	{unix.PR_GET_AUXV, prctlAuxv, 0},
	{unix.PR_SET_PTRACER, prctlInts, 0},
}

// PrctlOptions are the options that reach the host.
func PrctlOptions() []uint32 {
	var options []uint32
	for _, o := range prctlOptions {
		switch o.kind {
		case prctlInts, prctlPtr2, prctlCores:
			options = append(options, o.option)
		}
	}
	return options
}

// Prctl serves every option but those of seccomp, which package monitor has looked at before.
func Prctl(t hypercall.Task, a *[6]uint64) uint64 {
	for i := range prctlOptions {
		o := &prctlOptions[i]
		if o.option != uint32(a[0]) {
			continue
		}
		h := [5]uintptr{uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4])}
		switch o.kind {
		case prctlPtr2:
			h[1] = hypercall.Pointer(a[1], uint64(o.size))
		case prctlCores:
			h[4] = hypercall.PointerOrNil(a[4], uint64(o.size))
		case prctlDenied:
			return fail(unix.EPERM)
		case prctlTSC:
			return prctlTimestamp(a)
		case prctlAuxv:
			return prctlGetAuxv(t, a)
		}
		return ownRights(a, raw(unix.SYS_PRCTL, h[0], h[1], h[2], h[3], h[4], 0))
	}
	t.Process().Notef("prctl option %#x and others that are about the host process are refused with EINVAL", uint32(a[0]))
	return fail(unix.EINVAL)
}

// prctlTimestamp allows RDTSC, which the guest can't be denied; forbidding it on
// the host would end the monitor.
func prctlTimestamp(a args) uint64 {
	if uint32(a[0]) == unix.PR_GET_TSC {
		return fail(usermem.WriteUint32(a[1], unix.PR_TSC_ENABLE))
	}
	if uint32(a[1]) == unix.PR_TSC_ENABLE {
		return 0
	}
	return fail(unix.EINVAL)
}

// prctlGetAuxv copies what fits of the payload's auxiliary vector and gives its
// whole size.
func prctlGetAuxv(t task, a args) uint64 {
	if a[3] != 0 || a[4] != 0 {
		return fail(unix.EINVAL)
	}
	text, ok := t.Process().ProcFile(t, &hypercall.ProcFile{Name: "auxv", Own: true, Pid: t.Pid(), Tid: t.Tid(),
		Host: func() []byte { return nil }})
	if !ok {
		return fail(unix.EINVAL)
	}
	if e := usermem.CopyOut(a[1], text[:min(a[2], uint64(len(text)))]); e != 0 {
		return fail(e)
	}
	return uint64(len(text))
}
