package sys

import (
	"time"

	"golang.org/x/sys/unix"

	"kmdev/monitor/usermem"
)

var timeCalls = []entry{
	{unix.SYS_NANOSLEEP, func(t task, a args) uint64 { return nanosleep(t, unix.CLOCK_MONOTONIC, a[0], a[1]) }},
	{unix.SYS_CLOCK_NANOSLEEP, clockNanosleep},
}

const sizeTimespec = 16

func clockNanosleep(t task, a args) uint64 {
	if a[1]&unix.TIMER_ABSTIME != 0 {
		m := t.Scratch().Alloc(sizeTimespec)
		if e := usermem.CopyIn(m.Bytes(), a[2]); e != 0 {
			return fail(e)
		}
		return sleep(t, unix.SYS_CLOCK_NANOSLEEP, uintptr(a[0]), uintptr(a[1]), m.Host(), 0, 0, 0)
	}
	clock := a[0]
	if int32(clock) == unix.CLOCK_REALTIME {
		clock = unix.CLOCK_MONOTONIC // relative sleep does not follow the set time
	}
	return nanosleep(t, clock, a[2], a[3])
}

// nanosleep sleeps for a time. If it is interrupted the host tells what is left,
// and the sleep goes on until a fixed time of the clock.
func nanosleep(t task, clock, request, remain uint64) uint64 {
	m := t.Scratch().Alloc(2 * sizeTimespec)
	if e := usermem.CopyIn(m.Bytes()[:sizeTimespec], request); e != 0 {
		return fail(e)
	}
	r := t.Sleep(unix.SYS_CLOCK_NANOSLEEP, uintptr(clock), 0, m.Host(), m.Host()+sizeTimespec, 0, 0)
	if uint64(r) != fail(unix.EINTR) {
		return uint64(r)
	}
	left := time.Duration(m.Uint64(sizeTimespec)*uint64(time.Second) + m.Uint64(sizeTimespec+8))
	return asleep(t, clock, clockNow(t, clock)+left, left, remain)
}

// asleep is an interrupted sleep: what is left goes to the payload, as on Linux
// whether or not a handler runs.
func asleep(t task, clock uint64, end, left time.Duration, remain uint64) uint64 {
	if remain != 0 {
		var b [sizeTimespec]byte
		put64(b[:], uint64(left/time.Second))
		put64(b[8:], uint64(left%time.Second))
		if e := usermem.CopyOut(remain, b[:]); e != 0 {
			return fail(e)
		}
	}
	return again(t, func(t task) uint64 { return sleepUntil(t, clock, end, remain) })
}

func sleepUntil(t task, clock uint64, end time.Duration, remain uint64) uint64 {
	m := t.Scratch().Alloc(sizeTimespec)
	m.PutUint64(0, uint64(end/time.Second))
	m.PutUint64(8, uint64(end%time.Second))
	r := t.Sleep(unix.SYS_CLOCK_NANOSLEEP, uintptr(clock), unix.TIMER_ABSTIME, m.Host(), 0, 0, 0)
	if !interrupted(r) {
		return uint64(r)
	}
	return asleep(t, clock, end, max(0, end-clockNow(t, clock)), remain)
}

// clockNow reads a clock that has just been slept on.
func clockNow(t task, clock uint64) time.Duration {
	m := t.Scratch().Alloc(sizeTimespec)
	raw(unix.SYS_CLOCK_GETTIME, uintptr(clock), m.Host(), 0, 0, 0, 0)
	return time.Duration(m.Uint64(0)*uint64(time.Second) + m.Uint64(8))
}
