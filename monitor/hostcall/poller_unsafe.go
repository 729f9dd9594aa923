package hostcall

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noptrdata gives the program's initialised variables without pointers, programData all variables.
func noptrdata() (start, end uintptr)
func programData() (start, end uintptr)

// startPoller is the runtime's own: package internal/poll calls it before the first file.
//
//go:linkname startPoller internal/poll.runtime_pollServerInit
func startPoller()

// pollerAtInit is movePoller's result.
var pollerAtInit = movePoller()

// movePoller starts the Go runtime's poller, which the runtime otherwise does at a time of its own (with the first
// timer, and the memory scavenger has one), and moves its two descriptors out of the payload's range. The runtime gives
// no access to the variables that hold them:
//
//	epfd            int32, -1 before: found by the change
//	netpollEventFd  uintptr: its address is the data that the poller registered its eventfd with
//
// Package os may have started it before, which it does when a standard file does not block.
//
// Hardly anybody polls yet: there is no timer and no file, for which a thread would (runtime.findRunnable), but sysmon
// does in a process that is 10 ms old. So the old numbers stay good until closePoller, long after whoever has read a
// variable has made its call. Closing them does no harm then: what waits on an open file goes on waiting, and a
// registration lives as long as the open file.
func movePoller() error {
	if startVector == 0 || fdBound == 0 {
		return nil // an ordinary process, or one without room: Init says so
	}
	if given.epfd != 0 {
		startPoller()
		return raisePoller((*int32)(addressOf(given.epfd)), (*uintptr)(addressOf(given.eventfd)))
	}
	start, end := noptrdata()
	words := unsafe.Slice((*int32)(unsafe.Pointer(start)), (end-start)/4)
	unset := make([]*int32, 0, 256)
	for i := range words {
		if words[i] == -1 {
			unset = append(unset, &words[i])
		}
	}
	startPoller()
	epfd, eventfd := findPoller(unset)
	if epfd == nil {
		unset, err := unsetInFile(words, start)
		if err != nil {
			return err
		}
		if epfd, eventfd = findPoller(unset); epfd == nil {
			return errPoller
		}
	}
	return raisePoller(epfd, eventfd)
}

// raisePoller moves the two descriptors, given the variables that hold them.
func raisePoller(epfd *int32, eventfd *uintptr) error {
	pollerVars = [2]uintptr{uintptr(unsafe.Pointer(epfd)), uintptr(unsafe.Pointer(eventfd))}
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

// findPoller finds the variables among those that were -1: nil if there is not exactly one that has become an epoll
// descriptor.
func findPoller(unset []*int32) (epfd *int32, eventfd *uintptr) {
	for _, p := range unset {
		if *p < 0 {
			continue
		}
		if v := eventVariable(int(*p)); v != nil {
			if epfd != nil {
				return nil, nil
			}
			epfd, eventfd = p, v
		}
	}
	return epfd, eventfd
}

// unsetInFile gives the variables that are -1 in this program's file. words are what lies at start now.
func unsetInFile(words []int32, start uintptr) (unset []*int32, err error) {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fileError("open", "/proc/self/exe", err)
	}
	defer unix.Close(fd)
	head := make([]byte, 4096)
	if n, err := unix.Pread(fd, head, 0); err != nil || n < ehdrSize {
		return nil, fileError("read", "the program's ELF header", err)
	}
	off, ok := fileOffset(head, uint64(start))
	if !ok {
		return nil, errPoller
	}
	was := make([]byte, 4*len(words))
	if n, err := unix.Pread(fd, was, int64(off)); err != nil || n < len(was) {
		return nil, fileError("read", "the program's data", err)
	}
	for i := range words {
		if binary.LittleEndian.Uint32(was[4*i:]) == 1<<32-1 {
			unset = append(unset, &words[i])
		}
	}
	return unset, nil
}

// pollerVars are the addresses of the runtime's variables, in its data.
var pollerVars [2]uintptr

// addressOf makes a pointer to this program's own data of a number.
func addressOf(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// oldPoller are the descriptors that movePoller has replaced.
var oldPoller [2]int

// ClosePoller closes the runtime's poller, in a process that is about to end.
func ClosePoller() {
	if pollerVars[0] != 0 {
		unix.Close(int(*(*int32)(addressOf(pollerVars[0]))))
		unix.Close(int(*(*uintptr)(addressOf(pollerVars[1]))))
	}
}

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

// eventVariable is the address in this program's data that a registration of the epoll descriptor carries
// (proc_pid_fdinfo(5), "data:"), nil if there is none or fd is something else. A file's registration has an address on the
// heap with a tag.
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
	for line := range strings.SplitSeq(string(buf[:n]), "\n") {
		_, rest, ok := strings.Cut(line, "data:")
		if !ok {
			continue
		}
		rest, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
		addr, err := strconv.ParseUint(rest, 16, 64)
		if start, end := programData(); err == nil && uintptr(addr) >= start && uintptr(addr) < end {
			return (*uintptr)(addressOf(uintptr(addr)))
		}
	}
	return nil
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
