package hostcall

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noptrdata gives the runtime's initialised variables without pointers.
func noptrdata() (start, end uintptr)

// startPoller is the runtime's own: package internal/poll calls it before the first file.
//
//go:linkname startPoller internal/poll.runtime_pollServerInit
func startPoller()

// pollerAtInit is movePoller's result. It runs before package os's init, which starts the poller if a standard file
// does not block: this package does not import os, so the linker puts it first.
var pollerAtInit = movePoller()

// movePoller starts the Go runtime's poller, which the runtime otherwise does at a time of its own (with the first
// timer, and the memory scavenger has one), and moves its two descriptors out of the payload's range. The runtime gives
// no access to the variables that hold them:
//
//	epfd            int32, -1 before: found by the change
//	netpollEventFd  uintptr: its address is the data that the poller registered its eventfd with
//
// Hardly anybody polls yet: there is no timer and no file, for which a thread would (runtime.findRunnable), but sysmon
// does in a process that is 10 ms old. So the old numbers stay good until closePoller, long after whoever has read a
// variable has made its call. Closing them does no harm then: what waits on an open file goes on waiting, and a
// registration lives as long as the open file.
func movePoller() error {
	if startVector == 0 || fdBound == 0 {
		return nil // an ordinary process, or one without room: Init says so
	}
	start, end := noptrdata()
	words := unsafe.Slice((*int32)(unsafe.Pointer(start)), (end-start)/4)
	before := append([]int32(nil), words...)
	startPoller()

	var epfd *int32
	for i := range words {
		if before[i] != -1 || words[i] < 0 || !strings.Contains(linkOf(int(words[i])), "[eventpoll]") {
			continue
		}
		if epfd != nil {
			return errPoller
		}
		epfd = &words[i]
	}
	if epfd == nil {
		return errPoller
	}
	eventfd := eventVariable(int(*epfd))
	if eventfd == nil {
		return errPoller
	}
	oldPoller = [2]int{int(*epfd), int(*eventfd)}
	high, err := above(oldPoller[0])
	if err != nil {
		return err
	}
	highEvent, err := above(oldPoller[1])
	if err != nil {
		return err
	}
	atomic.StoreInt32(epfd, int32(high))
	atomic.StoreUintptr(eventfd, uintptr(highEvent))
	return nil
}

// oldPoller are the descriptors that movePoller has replaced.
var oldPoller [2]int

// closePoller frees the numbers that the payload is to have.
func closePoller() {
	for _, fd := range oldPoller {
		if fd != 0 {
			unix.Close(fd)
		}
	}
	oldPoller = [2]int{}
}

var errPoller = errors.New("hostcall: this Go runtime's poller is not the one known here (monitor/hostcall/poller_unsafe.go): build kmdev with the Go version in go.mod")

// eventVariable is the address that the epoll descriptor's only registration carries (proc_pid_fdinfo(5), "data:").
func eventVariable(epfd int) *uintptr {
	fd, err := unix.Open("/proc/self/fdinfo/"+strconv.Itoa(epfd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	buf := make([]byte, 1024)
	n, err := unix.Read(fd, buf)
	unix.Close(fd)
	if err != nil {
		return nil
	}
	text := string(buf[:n])
	_, rest, ok := strings.Cut(text, "data:")
	if !ok || strings.Contains(rest, "data:") {
		return nil
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return nil
	}
	addr, err := strconv.ParseUint(fields[0], 16, 64)
	if err != nil {
		return nil
	}
	// The variable lies in this program's own data, so the address is good.
	return *(**uintptr)(unsafe.Pointer(&addr))
}

// above duplicates a descriptor into the monitor's range.
func above(fd int) (int, error) {
	r := raw6(unix.SYS_FCNTL, uintptr(fd), unix.F_DUPFD_CLOEXEC, uintptr(fdBound), 0, 0, 0)
	if e := errno(r); e != 0 {
		return -1, &Error{"moving the runtime's poller", e}
	}
	return int(r), nil
}

// linkOf is where /proc/self/fd/N points, "" if nowhere.
func linkOf(fd int) string {
	buf := make([]byte, 64)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}
