package monitor

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kmdev/monitor/handover"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/signal"

	"golang.org/x/sys/unix"
)

// A forked child's monitor needs threads of its own, some for Go's runtime, one for KVM. Where the user is near what
// RLIMIT_NPROC or a pids cgroup lets him have, the child may be born and then find none; natively fork would have said
// EAGAIN. So there fork waits until the child's VM has run, and says EAGAIN if it never does. The child's standard error is
// /dev/null until then: Go's runtime has long words for such an end, and the payload none to hear.

// birth is the child's part: descriptors, -1 for none.
type birth struct {
	up     int // a byte goes here when the VM has run
	stderr int // what is to be descriptor 2 then
}

func (b *birth) write(w *handover.Writer) {
	w.Int(b.up)
	w.Int(b.stderr)
}

func (b *birth) read(r *handover.Reader) { b.up, b.stderr = r.Int(), r.Int() }

// threadRoom is how many threads at least a child's monitor may want, with some to spare for others that are starting.
const threadRoom = 64

// crowded tells whether fork has to wait for the child.
func (m *Machine) crowded() bool {
	limit := m.pidsLimit()
	var r unix.Rlimit
	if os.Geteuid() != 0 && unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &r) == nil {
		limit = min(limit, r.Cur)
	}
	var si unix.Sysinfo_t
	// All threads of the system, whosever they are: more than count against either limit.
	return limit != unix.RLIM_INFINITY && (unix.Sysinfo(&si) != nil || uint64(si.Procs)+threadRoom > limit)
}

// pidsLimit is the least of pids.max of this process's cgroup and those around it, as far as they can be seen.
func (m *Machine) pidsLimit() uint64 {
	if m.given != nil && m.given.pidsLimit != 0 {
		return m.given.pidsLimit
	}
	return hostPidsLimit()
}

var hostPidsLimit = sync.OnceValue(func() uint64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return unix.RLIM_INFINITY
	}
	return readPidsLimit(text, os.ReadFile)
})

// readPidsLimit goes by the text of /proc/PID/cgroup (cgroups(7)): lines "ID:CONTROLLERS:PATH".
func readPidsLimit(text []byte, readFile func(string) ([]byte, error)) uint64 {
	limit := uint64(unix.RLIM_INFINITY)
	for line := range bytes.Lines(text) {
		part := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(part) < 3 {
			continue
		}
		root := "/sys/fs/cgroup"
		switch {
		case part[1] == "": // version 2
		case strings.Contains(","+part[1]+",", ",pids,"):
			root += "/pids"
		default:
			continue
		}
		for dir := strings.TrimSuffix(part[2], "/"); ; dir = dir[:strings.LastIndexByte(dir, '/')] {
			if b, err := readFile(root + dir + "/pids.max"); err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil {
					limit = min(limit, n)
				}
			}
			if strings.LastIndexByte(dir, '/') < 0 {
				break
			}
		}
	}
	return limit
}

// watchedFork makes child and waits for its birth. fork makes it.
func (t *Thread) watchedFork(in *inheritance, child *hostcall.Child, fork func() uintptr) uintptr {
	m := t.m
	var kept []int
	keep := func(fd int, err error) int {
		if err == nil {
			fd, err = m.fds.Keep(fd)
		}
		if err != nil {
			return -1
		}
		kept = append(kept, fd)
		return fd
	}
	defer func() {
		for _, fd := range kept {
			unix.Close(fd)
		}
	}()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return ^uintptr(unix.EAGAIN) + 1
	}
	ours, theirs := keep(p[0], nil), keep(p[1], nil)
	if ours < 0 || theirs < 0 {
		return ^uintptr(unix.EAGAIN) + 1
	}
	in.birth.up = theirs
	if old := keep(unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 0)); old >= 0 && !in.shared {
		in.birth.stderr = old
		if null := keep(unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)); null >= 0 {
			child.First = append(child.First, [4]uintptr{unix.SYS_DUP3, uintptr(null), 2, 0})
		}
	}
	pid := fork()
	if int(pid) <= 0 {
		return pid
	}
	unix.Close(theirs) // so that the child's end is the end of the pipe
	kept = slices.DeleteFunc(kept, func(fd int) bool { return fd == theirs })
	var b [1]byte
	if n, err := unix.Read(ours, b[:]); err == nil && n == 1 {
		return pid
	}
	m.log.Info("fork: the child found no room for its threads (ulimit -u, or pids.max of its cgroup)")
	unix.Wait4(int(pid), nil, unix.WALL, nil)
	dropChildSignal(int(pid))
	return ^uintptr(unix.EAGAIN) + 1
}

// dropChildSignal takes the SIGCHLD of a child that the payload never had.
func dropChildSignal(pid int) {
	const chld = uint64(1) << (unix.SIGCHLD - 1)
	info, ok := hostcall.Dequeue(chld)
	if ok && (*signal.Siginfo)(&info).Pid() != pid {
		hostcall.Queue(0, int(unix.SIGCHLD), &info)
	}
}

// announce is the child's side: its VM runs once, so that KVM has made the thread that it wants, and the parent hears of it.
func (m *Machine) announce(t *Thread) error {
	b := m.given.birth
	if b.up < 0 {
		return nil
	}
	t.v.SetImmediateExit(true)
	e := t.v.Enter()
	t.v.SetImmediateExit(false)
	if e != unix.EINTR && e != 0 {
		return e
	}
	if b.stderr >= 0 {
		unix.Dup3(b.stderr, 2, 0)
		unix.Close(b.stderr)
	}
	unix.Write(b.up, []byte{1})
	return unix.Close(b.up)
}
