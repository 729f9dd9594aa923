package hostcall

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noptrdata gives the runtime's initialised variables without pointers.
func noptrdata() (start, end uintptr)

// pollerAtInit is movePoller's result. It runs before package os's init, which starts the poller if a standard file does not
// block: this package does not import os, so the linker puts it first.
var pollerAtInit = movePoller()

// movePoller starts the Go runtime's poller, which the runtime otherwise does at a time of its own (with the first timer, and
// the memory scavenger has one), and moves its two descriptors out of the payload's range. The runtime gives no access to
// the variables that hold them:
//
//	epfd            int32, -1 before: found by the change
//	netpollEventFd  uintptr: its address is the data that the poller registered its eventfd with
//
// Closing the old numbers is safe: a registration lives as long as the open file.
func movePoller() error {
	if startVector == 0 || fdBound == 0 {
		return nil // an ordinary process, or one without room: Init says so
	}
	start, end := noptrdata()
	words := unsafe.Slice((*int32)(unsafe.Pointer(start)), (end-start)/4)
	before := append([]int32(nil), words...)
	time.AfterFunc(time.Hour, func() {}).Stop()

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
	if e := relocate32(epfd); e != 0 {
		return &Error{Op: "moving the runtime's poller", Errno: e}
	}
	n := int32(*eventfd)
	if e := relocate32(&n); e != 0 {
		return &Error{Op: "moving the runtime's poller", Errno: e}
	}
	*eventfd = uintptr(n)
	return nil
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

// relocate32 moves the descriptor in *fd into the monitor's range.
func relocate32(fd *int32) unix.Errno {
	r := raw6(unix.SYS_FCNTL, uintptr(*fd), unix.F_DUPFD_CLOEXEC, uintptr(fdBound), 0, 0, 0)
	if e := errno(r); e != 0 {
		return e
	}
	raw6(unix.SYS_CLOSE, uintptr(*fd), 0, 0, 0, 0, 0)
	*fd = int32(r)
	return 0
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
