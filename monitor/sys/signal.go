package sys

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
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
	{unix.SYS_RT_SIGQUEUEINFO, func(t task, a args) uint64 {
		if int(int32(a[0])) == t.Pid() || t.Process().HasThread(int(int32(a[0]))) {
			return queueOwn(t, 0, a[1], a[2])
		}
		return pass(t, unix.SYS_RT_SIGQUEUEINFO, a)
	}},
	{unix.SYS_PIDFD_SEND_SIGNAL, pidfdSendSignal},
}

// queueOwn queues a siginfo of the payload's making for this process, or a thread of it. One that looks like a fault must not be
// taken for the monitor's.
func queueOwn(t task, tid int, sig, gva uint64) uint64 {
	var info [128]byte
	if e := usermem.CopyIn(info[:], gva); e != 0 {
		return fail(e)
	}
	return uint64(hostcall.Queue(tid, int(int32(sig)), &info))
}

// pidfdSendSignal leaves to the host what can't look like a fault of this process.
func pidfdSendSignal(t task, a args) uint64 {
	var head [12]byte // signo, errno, code
	if sig := unix.Signal(a[1]); a[2] == 0 || sig != unix.SIGSEGV && sig != unix.SIGBUS ||
		usermem.CopyIn(head[:], a[2]) != 0 || int32(le32(head[8:])) <= 0 || le32(head[:]) != uint32(sig) || !ownPidfd(t, a[0]) {
		return pass(t, unix.SYS_PIDFD_SEND_SIGNAL, a)
	}
	if r := hypercall.Errno(pass(t, unix.SYS_PIDFD_SEND_SIGNAL, &[6]uint64{a[0], 0, 0, a[3]})); r != 0 {
		return fail(r) // the flags
	}
	return queueOwn(t, 0, a[1], a[2])
}

// ownPidfd tells whether a descriptor is a pidfd of this process.
func ownPidfd(t task, fd uint64) bool {
	if !hypercall.ValidFD(t, fd) {
		return false
	}
	text, err := readFile(procfs(t).fd, "thread-self/fdinfo/"+strconv.Itoa(int(int32(fd))))
	return err == nil && strings.Contains(string(text), "\nPid:\t"+strconv.Itoa(t.Pid())+"\n")
}

// threadSignal sends a signal to a thread. Those of the monitor's own do not
// exist for the payload.
func threadSignal(nr int) Handler {
	return func(t task, a args) uint64 {
		if int(int32(a[0])) == t.Pid() && int32(a[1]) > 0 && !t.Process().HasThread(int(int32(a[1]))) {
			return fail(unix.ESRCH)
		}
		if nr == unix.SYS_RT_TGSIGQUEUEINFO && int(int32(a[0])) == t.Pid() && int32(a[1]) > 0 {
			return queueOwn(t, int(int32(a[1])), a[2], a[3])
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
