package monitor

import (
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/procview"
	"kmdev/monitor/sys"
	"kmdev/monitor/tree"

	"golang.org/x/sys/unix"
)

// A payload's relatives see it in /proc as Linux would show it. What the host does not tell them, the process itself has
// published in the tree's file, from the moment it forks or is a fork's child: a process that stays alone pays nothing.

// treeLimits are the resource limits that are published.
var treeLimits = [tree.Limits]int{unix.RLIMIT_NOFILE, unix.RLIMIT_AS, unix.RLIMIT_DATA, -1}

// membership is a process's place in its tree. A vfork child has none of its own.
type membership struct {
	file *tree.Tree
	own  *tree.Member
}

// growTree makes the tree's file if there is none yet, and this process its first member. Without one the process's relatives
// see it as an ordinary kmdev. Before the host's fork, on any vCPU thread.
func (m *Machine) growTree() {
	m.joining.Lock()
	defer m.joining.Unlock()
	if m.tree.Load() != nil {
		return
	}
	var file *tree.Tree
	err := hostcall.OwnFile(func() (err error) {
		file, err = tree.Create(m.fds.Keep)
		return err
	})
	if err == nil {
		err = m.join(file)
	}
	if err != nil {
		m.Notef("/proc shows this payload's children as kmdev: %s", err)
	}
}

// treeFD is the file's descriptor, for whoever goes on as this process or as its child; -1 if there is none.
func (m *Machine) treeFD() int {
	if t := m.tree.Load(); t != nil {
		return t.file.FD()
	}
	return -1
}

// joinTree makes this process one of the tree whose file was inherited as fd. Before the payload runs.
func (m *Machine) joinTree(fd int) {
	if fd < 0 {
		return
	}
	file, err := tree.Open(fd)
	if err == nil {
		err = m.join(file)
	}
	if err != nil {
		m.Notef("/proc shows this payload as kmdev: %s", err)
	}
}

func (m *Machine) join(file *tree.Tree) error {
	// Without the time of its start, a process is known by its pid alone.
	own, err := file.Join(m.pid, procview.StartTime(sys.OwnStat()))
	if err != nil {
		return err
	}
	m.tree.Store(&membership{file, own})
	m.publish()
	m.publishThreads()
	m.as.WatchHidden(func() { m.publishRanges(own) })
	return nil
}

// member is the process's own slot; nil if it has none.
func (m *Machine) member() *tree.Member {
	if t := m.tree.Load(); t != nil {
		return t.own
	}
	return nil
}

// leaveTree gives the place back. The process is about to end.
func (m *Machine) leaveTree() {
	if own := m.member(); own != nil {
		own.Leave()
	}
}

// publish tells the tree what has changed: limits, dispositions.
func (m *Machine) publish() {
	own := m.member()
	if own == nil {
		return
	}
	i := &tree.Info{Exe: m.exeFD, FDBound: m.fds.Bound(), NoNewPrivs: noNewPrivs()}
	i.Caught, i.Ignored = m.actionSets()
	for n, resource := range treeLimits {
		i.Limits[n], _ = m.Rlimit(resource)
	}
	own.Set(i)
}

func (m *Machine) publishThreads() {
	own := m.member()
	if own == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]tree.Thread, len(m.order))
	for i, th := range m.order {
		c := th.confined.Load()
		list[i] = tree.Thread{TID: th.tid, Blocked: th.block.Blocked(), Seccomp: c.mode(), Filters: uint64(c.chain().Len())}
	}
	own.SetThreads(list)
}

// publishRanges runs with the address space's lock held.
func (m *Machine) publishRanges(own *tree.Member) {
	own.SetRanges(func(yield func(tree.Range)) {
		m.as.HiddenLocked(func(start, end uint64, exec bool, name string) {
			if exec || name[0] == '[' && name[1] == 'v' { // the host itself names heap and stack
				yield(tree.Range{Start: start, End: end, Exec: exec, Name: name})
			}
		})
	})
}

// publishBlocked tells the tree the thread's mask. On the thread itself.
func (t *Thread) publishBlocked(mask uint64) {
	if own := t.m.member(); own != nil {
		own.SetBlocked(t.tid, mask)
	}
}

// Relative is hypercall.Process's.
func (m *Machine) Relative(pid int, start func() uint64) hypercall.Relative {
	t := m.tree.Load()
	if t == nil {
		return nil
	}
	i, ok := t.file.Find(pid, start)
	if !ok {
		return nil
	}
	return &relative{i}
}

// relative is what another process of the tree has published.
type relative struct{ *tree.Info }

func (r *relative) ExeFD() int   { return r.Exe }
func (r *relative) FDLimit() int { return r.FDBound }

func (r *relative) Rlimit(resource int) (unix.Rlimit, bool) {
	for n, of := range treeLimits {
		if of == resource {
			return r.Limits[n], true
		}
	}
	return unix.Rlimit{}, false
}

// HasThread tells whether tid is a payload thread, as far as can be known: a process has published a limited number.
func (r *relative) HasThread(tid int) bool {
	for _, t := range r.Threads {
		if t.TID == tid {
			return true
		}
	}
	return r.More > 0
}

func (r *relative) ranges() []procview.Range {
	list := make([]procview.Range, len(r.Ranges))
	for i, x := range r.Ranges {
		list[i] = procview.Range{Start: x.Start, End: x.End, Exec: x.Exec, Name: x.Name}
	}
	return list
}

func (r *relative) describe(v *procview.View, tid int) {
	v.Threads = len(r.Threads) + r.More
	v.Caught, v.Ignored, v.NoNewPrivs = r.Caught, r.Ignored, r.NoNewPrivs
	v.Limits = map[int]unix.Rlimit{}
	for n, resource := range treeLimits {
		if resource >= 0 {
			v.Limits[resource] = r.Limits[n]
		}
	}
	for _, t := range r.Threads {
		if t.TID == tid {
			v.Blocked, v.Seccomp, v.Filters = t.Blocked, t.Seccomp, t.Filters
		}
	}
}
