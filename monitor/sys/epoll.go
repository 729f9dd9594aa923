package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

var epollCalls = []entry{
	{unix.SYS_EPOLL_WAIT, func(t task, a args) uint64 {
		e := epollWait{a[0], a[1], a[2], wait{until: milliseconds(a[3])}}
		return e.run(t)
	}},
	{unix.SYS_EPOLL_PWAIT, func(t task, a args) uint64 {
		e := epollWait{a[0], a[1], a[2], wait{until: milliseconds(a[3])}}
		if err := e.w.setMask(a[4], a[5]); err != 0 {
			return fail(err)
		}
		return e.run(t)
	}},
	{unix.SYS_EPOLL_PWAIT2, func(t task, a args) uint64 {
		until, err := hypercall.Deadline(a[3])
		e := epollWait{a[0], a[1], a[2], wait{until: until}}
		if err == 0 {
			err = e.w.setMask(a[4], a[5])
		}
		if err != 0 {
			return fail(err)
		}
		return e.run(t)
	}},
	{unix.SYS_SIGNALFD, func(t task, a args) uint64 { return signalfd(t, a, 0) }},
	{unix.SYS_SIGNALFD4, func(t task, a args) uint64 { return signalfd(t, a, uintptr(a[3])) }},
}

type epollWait struct {
	fd, events, max uint64
	w               wait
}

const sizeEpollEvent = 12

func (e epollWait) run(t task) uint64 {
	var room uint64
	if n := int32(e.max); n > 0 {
		room = uint64(n) * sizeEpollEvent
	}
	r := e.w.sleep(t, unix.SYS_EPOLL_PWAIT2, hypercall.HostFD(t, e.fd), hypercall.Pointer(e.events, room), uintptr(e.max),
		e.w.timespec(t), e.w.sigset(t), sigsetSize)
	if interrupted(r) {
		return again(t, e.run)
	}
	return uint64(r)
}

// signalfd makes or changes a signalfd: signals pend on the host, so it is the
// host's. It never reads the monitor's kick.
func signalfd(t task, a args, flags uintptr) uint64 {
	if a[2] != sigsetSize {
		return fail(unix.EINVAL)
	}
	var w wait
	if a[1] == 0 {
		return fail(unix.EFAULT)
	}
	if e := w.setMask(a[1], a[2]); e != 0 {
		return fail(e)
	}
	const kick = 1 << (unix.SIGSTKFLT - 1)
	m := t.Scratch().Alloc(sigsetSize)
	m.PutUint64(0, w.mask&^kick)
	return hypercall.NewFD(t, raw(unix.SYS_SIGNALFD4, hypercall.HostFD(t, a[0]), m.Host(), sigsetSize, flags, 0, 0))
}
