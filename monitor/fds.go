package monitor

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"kmdev/monitor/hostcall"

	"golang.org/x/sys/unix"
)

// fdTable keeps the monitor's own descriptors out of the payload's sight. Payload and monitor share one descriptor table,
// and a payload's descriptors are the host's by number, so the monitor's live at and above bound: whatever number the
// payload may use is below it, and as the host's soft RLIMIT_NOFILE is the payload's, the kernel hands none out above it.
//
// Where the hard limit can't be raised, the bound starts high and comes down as the monitor needs more, if the payload has
// no descriptor there: see makeRoom.
type fdTable struct {
	bound atomic.Int64 // changes with mu held
	mu    sync.Mutex
	limit unix.Rlimit // the payload's RLIMIT_NOFILE, as it was inherited or set; what is above bound can't be had
}

func newFDTable() (*fdTable, error) {
	bound := uint64(hostcall.FDBound())
	l := hostcall.InheritedNofile()
	if bound == 0 {
		return nil, fmt.Errorf("no descriptors for the monitor above the payload's %d: raise the hard limit (ulimit -Hn)", l.Max)
	}
	t := &fdTable{limit: l}
	t.bound.Store(int64(bound))
	return t, t.apply()
}

// apply makes the payload's soft limit the host's. The hard limit stays wide enough for Relocate.
func (t *fdTable) apply() error {
	return prlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(t.limit.Cur, uint64(t.Bound())), Max: uint64(hostcall.FDEnd())})
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
	if fd >= t.Bound() {
		return fd, nil
	}
	return t.move(fd, unix.F_DUPFD_CLOEXEC, t.Bound())
}

// Open gets the monitor a descriptor by open, where the payload has used up its own too: what Linux does without a
// descriptor, execve above all, takes one here.
func (t *fdTable) Open(open func() (int, error)) (int, error) {
	fd, err := t.open(open)
	if err != nil {
		return -1, err
	}
	own, err := t.Relocate(fd)
	if err != nil {
		unix.Close(fd)
		return -1, unix.ENFILE
	}
	return own, nil
}

// open is Open for a descriptor that its caller moves at once.
func (t *fdTable) open(open func() (int, error)) (int, error) {
	fd, err := open()
	if err != unix.EMFILE {
		return fd, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if prlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(hostcall.FDEnd()), Max: uint64(hostcall.FDEnd())}) != nil {
		return -1, unix.EMFILE
	}
	fd, err = open()
	if e := t.apply(); e != nil && err == nil {
		unix.Close(fd)
		return -1, e
	}
	return fd, err
}

func (t *fdTable) move(fd, how, from int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wide := unix.Rlimit{Cur: uint64(hostcall.FDEnd()), Max: uint64(hostcall.FDEnd())}
	if err := prlimit(unix.RLIMIT_NOFILE, &wide); err != nil {
		return fd, fmt.Errorf("raising RLIMIT_NOFILE: %w", err)
	}
	n, err := t.dup(fd, how, from)
	if e := t.apply(); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return fd, err
	}
	unix.Close(fd)
	return n, nil
}

// dup duplicates fd to the first free number from there on. Those that are kept have their own.
func (t *fdTable) dup(fd, how, from int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), how, from)
	if from >= keptBase() || err == nil && n < keptBase() || !t.makeRoom() {
		return n, err
	}
	if err == nil {
		unix.Close(n)
	}
	return unix.FcntlInt(uintptr(fd), how, t.Bound())
}

// keptRoom is how many descriptors at the end of the monitor's range are for those that outlive fork and execve: all others
// of the range are closed by both.
const keptRoom = 64

// keptBase is where they begin.
func keptBase() int { return hostcall.FDEnd() - keptRoom }

// clone is a vfork child's: its limit is its own.
func (t *fdTable) clone() *fdTable {
	c := &fdTable{limit: t.Limit()}
	c.bound.Store(t.bound.Load())
	return c
}

// Keep is Relocate for a descriptor that forked children and executed programs inherit. It is not close-on-exec: nothing but
// a monitor is ever executed.
func (t *fdTable) Keep(fd int) (int, error) {
	return t.move(fd, unix.F_DUPFD, keptBase())
}

// KeepCopy duplicates a descriptor that the payload shares to where only the monitor has it. Before New.
func KeepCopy(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD, keptBase()) }

// keepAt is Keep for a descriptor that the next monitor expects at a certain number.
func (t *fdTable) keepAt(fd, at int) (int, error) {
	n, err := t.move(fd, unix.F_DUPFD, at)
	if err == nil && n != at {
		err = fmt.Errorf("descriptor %d is taken", at)
	}
	return n, err
}

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

// Bound is where the monitor's descriptors begin.
func (t *fdTable) Bound() int { return int(t.bound.Load()) }

// moreFDs is how many descriptors makeRoom takes from the payload at a time.
const moreFDs = 256

// most is how many descriptors the monitor may come to have.
func (t *fdTable) most() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	low := t.Bound()
	if spare := low - int(t.limit.Max/2); t.limit.Max <= uint64(hostcall.FDEnd()) && spare > 0 {
		low -= spare / moreFDs * moreFDs
	}
	return hostcall.FDEnd() - low
}

// makeRoom lowers the bound where no more descriptors can be had above it. The limit comes down first, so that the kernel hands
// out none there; if the payload has one already, nothing changes. t.mu is held, the limit on the host wide.
func (t *fdTable) makeRoom() bool {
	bound := t.Bound()
	lower := bound - moreFDs
	if t.limit.Max > uint64(hostcall.FDEnd()) || lower < int(t.limit.Max/2) {
		return false
	}
	t.bound.Store(int64(lower))
	if t.apply() == nil && !anyOpen(lower, bound) {
		wide := unix.Rlimit{Cur: uint64(hostcall.FDEnd()), Max: uint64(hostcall.FDEnd())}
		return prlimit(unix.RLIMIT_NOFILE, &wide) == nil
	}
	t.bound.Store(int64(bound))
	return false
}

// anyOpen tells whether a descriptor of [from, to) is open.
func anyOpen(from, to int) bool {
	for fd := from; fd < to; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			return true
		}
	}
	return false
}

// Limit is the payload's RLIMIT_NOFILE: its descriptors are below Cur.
func (t *fdTable) Limit() unix.Rlimit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

// leaveFiles closes what would stay open in a descriptor table that other processes go on using (CLONE_FILES): this monitor's
// VM with its vCPUs, and Go's poller. A process that is killed leaves them there, until the last sharer has ended.
func (m *Machine) leaveFiles() {
	if m.given == nil || !m.given.shared {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.idle {
		unix.Close(v.FD)
	}
	for _, t := range m.threads {
		unix.Close(t.v.FD)
	}
	unix.Close(m.vm.FD)
	hostcall.ClosePoller()
}
