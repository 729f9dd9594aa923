package sys

import (
	"strconv"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

var signalCalls = []entry{
	{unix.SYS_TKILL, func(t task, a args) uint64 {
		if int32(a[0]) > 0 && monitorsOwn(t, int(int32(a[0]))) {
			return fail(unix.ESRCH)
		}
		return pass(t, unix.SYS_TKILL, a)
	}},
	{unix.SYS_TGKILL, threadSignal(unix.SYS_TGKILL)},
	{unix.SYS_RT_TGSIGQUEUEINFO, threadSignal(unix.SYS_RT_TGSIGQUEUEINFO)},
}

// threadSignal sends a signal to a thread. Those of the monitor's own do not
// exist for the payload.
func threadSignal(nr int) Handler {
	return func(t task, a args) uint64 {
		if int(int32(a[0])) == t.Pid() && int32(a[1]) > 0 && !t.Process().HasThread(int(int32(a[1]))) {
			return fail(unix.ESRCH)
		}
		return pass(t, nr, a)
	}
}

// monitorsOwn tells whether a thread of this process is not the payload's.
func monitorsOwn(t task, tid int) bool {
	return !t.Process().HasThread(tid) &&
		hypercall.Errno(raw(unix.SYS_TGKILL, uintptr(t.Pid()), uintptr(tid), 0, 0, 0, 0)) == 0
}

func itoa(n int) string { return strconv.Itoa(n) }
