package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var ipcCalls = []entry{
	{unix.SYS_SEMCTL, semctl},
	{unix.SYS_SEMTIMEDOP, semtimedop},
	{unix.SYS_MSGSND, func(t task, a args) uint64 {
		return sleep(t, unix.SYS_MSGSND, uintptr(a[0]), message(a), uintptr(a[2]), uintptr(a[3]), 0, 0)
	}},
	{unix.SYS_MSGRCV, func(t task, a args) uint64 {
		return sleep(t, unix.SYS_MSGRCV, uintptr(a[0]), hypercall.Pointer(a[1], sizeMtype), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), 0)
	}},
	{unix.SYS_MQ_NOTIFY, mqNotify},
}

// sizeMtype is the type that precedes the text in struct msgbuf.
const sizeMtype = 8

// message translates a struct msgbuf of a[2] bytes of text. A size that is no
// size is for the kernel to find.
func message(a args) uintptr {
	if int64(a[2]) < 0 {
		return hypercall.Pointer(a[1], sizeMtype)
	}
	return hypercall.Pointer(a[1], a[2]+sizeMtype)
}

// Commands of semctl whose argument is no pointer.
const (
	semSetval = 16
	ipcRmid   = 0
	semGetpid = 11
	semGetval = 12
	semNcnt   = 14
	semZcnt   = 15
	ipc64     = 0x100
)

// semctl has an argument that may be an integer, an array of one entry for each
// semaphore of the set, or a structure. What the kernel reads or
// writes it bounds by the set; the payload's last page is never mapped.
func semctl(t task, a args) uint64 {
	arg := uintptr(a[3])
	switch uint32(a[2]) &^ ipc64 {
	case semSetval, ipcRmid, semGetpid, semGetval, semNcnt, semZcnt:
	default:
		arg = hypercall.Pointer(a[3], 1)
	}
	return sleep(t, unix.SYS_SEMCTL, uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), arg, 0, 0)
}

func semtimedop(t task, a args) uint64 {
	until, e := hypercall.Deadline(a[3])
	if e != 0 {
		return fail(e)
	}
	return semopUntil(t, *a, until)
}

func semopUntil(t task, a [6]uint64, until hypercall.Until) uint64 {
	const sizeSembuf = 6
	w := wait{until: until}
	ops := hypercall.Pointer(a[1], uint64(uint32(a[2]))*sizeSembuf)
	r := t.Sleep(unix.SYS_SEMTIMEDOP, uintptr(a[0]), ops, uintptr(a[2]), w.timespec(t), 0, 0)
	if interrupted(r) {
		return again(t, func(t task) uint64 { return semopUntil(t, a, until) })
	}
	return uint64(r)
}

// mqNotify translates the cookie that SIGEV_THREAD has in place of a value, and
// checks the netlink socket it has in place of a signal.
func mqNotify(t task, a args) uint64 {
	const size, signo, notify, thread, cookie = 64, 8, 12, 2, 32
	if a[1] == 0 {
		return pass(t, unix.SYS_MQ_NOTIFY, a)
	}
	m := t.Scratch().Alloc(size)
	if e := usermem.CopyIn(m.Bytes(), a[1]); e != 0 {
		return fail(e)
	}
	if m.Uint32(notify) == thread {
		m.PutUint64(0, uint64(hypercall.Pointer(m.Uint64(0), cookie)))
		m.PutUint32(signo, uint32(hypercall.HostFD(t, uint64(m.Uint32(signo)))))
	}
	return raw(unix.SYS_MQ_NOTIFY, hypercall.HostFD(t, a[0]), m.Host(), 0, 0, 0, 0)
}
