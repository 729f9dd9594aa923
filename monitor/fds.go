package monitor

import (
	"fmt"
	"slices"
	"sync"

	"kmdev/monitor/hostcall"

	"golang.org/x/sys/unix"
)

// fdTable keeps the monitor's own descriptors out of the payload's sight. Payload and monitor share one descriptor table,
// and a payload's descriptors are the host's by number, so the monitor's live at and above bound: whatever number the
// payload may use is below it, and as the host's soft RLIMIT_NOFILE is the payload's, the kernel hands none out above it.
type fdTable struct {
	mu    sync.Mutex
	bound int         // never changes
	limit unix.Rlimit // the payload's RLIMIT_NOFILE, as it was inherited or set; what is above bound can't be had
}

func newFDTable() (*fdTable, error) {
	bound := uint64(hostcall.FDBound())
	l := hostcall.InheritedNofile()
	if bound == 0 {
		return nil, fmt.Errorf("no descriptors for the monitor above the payload's %d: raise the hard limit (ulimit -Hn)", l.Max)
	}
	t := &fdTable{bound: int(bound), limit: l}
	return t, t.apply()
}

// apply makes the payload's soft limit the host's. The hard limit stays wide enough for Relocate.
func (t *fdTable) apply() error {
	return prlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(t.limit.Cur, uint64(t.bound)), Max: uint64(hostcall.FDEnd())})
}

// SetLimit is the payload's setrlimit(RLIMIT_NOFILE).
func (t *fdTable) SetLimit(l unix.Rlimit) unix.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.Cur > l.Max {
		return unix.EINVAL
	}
	if l.Max > t.limit.Max {
		return unix.EPERM
	}
	t.limit = l
	if err := t.apply(); err != nil {
		return unix.EPERM
	}
	return 0
}

// prlimit is setrlimit by the raw call: the one in package syscall makes os/exec undo it later.
func prlimit(resource int, r *unix.Rlimit) error {
	return unix.Prlimit(0, resource, r, nil)
}

// Relocate moves fd, which the monitor has just got, out of the payload's range and returns its new number.
func (t *fdTable) Relocate(fd int) (int, error) {
	if fd >= t.bound {
		return fd, nil
	}
	return t.move(fd, unix.F_DUPFD_CLOEXEC, t.bound)
}

func (t *fdTable) move(fd, how, from int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wide := unix.Rlimit{Cur: uint64(hostcall.FDEnd()), Max: uint64(hostcall.FDEnd())}
	if err := prlimit(unix.RLIMIT_NOFILE, &wide); err != nil {
		return fd, fmt.Errorf("raising RLIMIT_NOFILE: %w", err)
	}
	n, err := unix.FcntlInt(uintptr(fd), how, from)
	if e := t.apply(); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return fd, err
	}
	unix.Close(fd)
	return n, nil
}

// keptRoom is how many descriptors at the end of the monitor's range are for those that outlive fork and execve: all others
// of the range are closed by both.
const keptRoom = 64

// keptBase is where they begin.
func keptBase() int { return hostcall.FDEnd() - keptRoom }

// clone is a vfork child's: its limit is its own.
func (t *fdTable) clone() *fdTable { return &fdTable{bound: t.bound, limit: t.Limit()} }

// Keep is Relocate for a descriptor that forked children and executed programs inherit. It is not close-on-exec: nothing but
// a monitor is ever executed.
func (t *fdTable) Keep(fd int) (int, error) {
	return t.move(fd, unix.F_DUPFD, keptBase())
}

// KeepCopy duplicates a descriptor that the payload shares to where only the monitor has it. Before New.
func KeepCopy(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD, keptBase()) }

// dropOthers closes the kept descriptors that are not in list.
func dropOthers(list []int) {
	slices.Sort(list)
	from := keptBase()
	for _, fd := range append(list, hostcall.FDEnd()) {
		if fd > from {
			unix.CloseRange(uint(from), uint(fd-1), 0)
		}
		from = max(from, fd+1)
	}
}

// Limit is the payload's RLIMIT_NOFILE: its descriptors are below Cur.
func (t *fdTable) Limit() unix.Rlimit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}
