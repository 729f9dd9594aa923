// Package tree is what the payload processes of one tree tell each other about themselves, for /proc/PID: a file without a
// name, made when the first of them forks, inherited by all that come after and mapped by each, with a slot per process.
// A process writes its own slot whenever what it says changes, so that others read it without its help: it may be stopped, or
// dead. Payloads can't reach the file: its descriptor is the monitor's.
package tree

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Info is what a process says. Addresses are the payload's.
type Info struct {
	Exe             int // its monitor's descriptor of the payload's executable
	FDBound         int // where its monitor's descriptors begin
	Ignored, Caught uint64
	NoNewPrivs      bool
	Limits          [Limits]unix.Rlimit
	Threads         []Thread
	More            int // threads that had no room
	Ranges          []Range
}

// Limits is how many resource limits a process publishes; which they are is its own matter.
const Limits = 4

// Thread is a payload thread.
type Thread struct {
	TID     int
	Blocked uint64 // signal mask
	Seccomp uint64 // mode of seccomp(2)
	Filters uint64 // how many
}

// Range is a part of memory of which the host's maps don't tell all.
type Range struct {
	Start, End uint64
	Exec       bool
	Name       string // one of names
}

// names are those that a range may have.
var names = []string{"", "[vdso]", "[vvar]", "[vvar_vclock]"}

// Tree is a mapped file. Its methods may be called from any thread.
type Tree struct {
	fd   int
	mem  *file
	room int // processes
}

// Create makes the file; relocate gives a descriptor its place among the monitor's. A small RLIMIT_FSIZE makes it one for fewer
// processes.
func Create(relocate func(int) (int, error)) (*Tree, error) {
	var l unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, nil, &l); err != nil {
		return nil, fmt.Errorf("process tree: RLIMIT_FSIZE: %w", err)
	}
	processes := uint64(maxProcesses)
	if l.Cur < uint64(fileSize) {
		processes = (max(l.Cur, uint64(headSize)) - uint64(headSize)) / uint64(slotSize)
	}
	if processes == 0 {
		return nil, fmt.Errorf("process tree: RLIMIT_FSIZE is %d: %w", l.Cur, unix.EFBIG)
	}
	fd, err := unix.MemfdCreate("kmdev-tree", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("process tree: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(uint64(headSize)+processes*uint64(slotSize))); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process tree: %w", err)
	}
	own, err := relocate(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process tree: %w", err)
	}
	return Open(own)
}

// Open maps the file that was inherited as fd.
func Open(fd int) (*Tree, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("process tree: %w", err)
	}
	mem, err := mapFile(fd)
	if err != nil {
		return nil, fmt.Errorf("process tree: %w", err)
	}
	room := max(st.Size, int64(headSize)) - int64(headSize)
	return &Tree{fd, mem, int(min(room/int64(slotSize), maxProcesses))}, nil
}

// FD is the file's descriptor, for a process that is to join.
func (t *Tree) FD() int { return t.fd }

// Member is a process's own slot.
type Member struct {
	t    *Tree
	n    int
	mu   sync.Mutex
	slot *slot
}

// Join takes a slot for process pid, which began at start (field 22 of its stat; 0: not known), or the one that it has had
// before it executed another program.
func (t *Tree) Join(pid int, start uint64) (*Member, error) {
	n := t.claim(uint32(pid))
	if n < 0 {
		return nil, fmt.Errorf("process tree: more than %d processes", t.room)
	}
	m := &Member{t: t, n: n, slot: &t.mem.slots[n]}
	m.write(func(s *slot) {
		s.start, s.threads, s.ranges = start, 0, 0
	})
	return m, nil
}

// claim takes an entry of the index: the one that has pid already, or the first that is free. Those of processes that were
// killed are freed at every power of two on the way, which keeps the file small and the search for them rare.
func (t *Tree) claim(pid uint32) int {
	if n := t.entry(pid); n >= 0 {
		return n
	}
	for n := range t.room {
		if n >= firstSweep && n&(n-1) == 0 {
			if dead := t.sweep(n, pid); dead >= 0 {
				return dead
			}
		}
		if atomic.CompareAndSwapUint32(&t.mem.index[n], 0, pid) {
			t.mem.grow(n)
			return n
		}
	}
	return -1
}

// firstSweep is how many entries there may be of the dead before anyone looks.
const firstSweep = 16

// sweep takes the first of n entries whose process is gone.
func (t *Tree) sweep(n int, pid uint32) int {
	for i := range n {
		old := atomic.LoadUint32(&t.mem.index[i])
		if old == 0 || unix.Kill(int(old), 0) == unix.ESRCH {
			if atomic.CompareAndSwapUint32(&t.mem.index[i], old, pid) {
				return i
			}
		}
	}
	return -1
}

// entry finds the entry of a pid.
func (t *Tree) entry(pid uint32) int {
	for n := range min(int(t.mem.used()), t.room) {
		if atomic.LoadUint32(&t.mem.index[n]) == pid {
			return n
		}
	}
	return -1
}

// Leave gives the slot back. The process does not write it any more.
func (m *Member) Leave() {
	m.write(func(s *slot) { s.start, s.threads, s.ranges = 0, 0, 0 })
	atomic.StoreUint32(&m.t.mem.index[m.n], 0)
}

// write changes the slot. Readers see a whole state: the sequence number is odd meanwhile.
func (m *Member) write(f func(*slot)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := atomic.LoadUint32(&m.slot.seq) | 1 // whoever died writing it has left it odd
	atomic.StoreUint32(&m.slot.seq, seq)
	f(m.slot)
	atomic.StoreUint32(&m.slot.seq, seq+1)
}

// Set publishes all but threads and ranges.
func (m *Member) Set(i *Info) {
	m.write(func(s *slot) {
		s.exe, s.bound, s.ignored, s.caught, s.limits = int32(i.Exe), int32(i.FDBound), i.Ignored, i.Caught, i.Limits
		s.flags = 0
		if i.NoNewPrivs {
			s.flags |= flagNoNewPrivs
		}
	})
}

// SetThreads publishes the threads: as many as there is room for, and how many there are.
func (m *Member) SetThreads(list []Thread) {
	m.write(func(s *slot) {
		s.threads = uint32(len(list))
		for i, th := range list[:min(len(list), maxThreads)] {
			s.thread[i] = packThread(&th)
		}
	})
}

// SetBlocked publishes a thread's mask.
func (m *Member) SetBlocked(tid int, mask uint64) {
	m.write(func(s *slot) {
		for i := range s.thread[:min(s.threads, maxThreads)] {
			if s.thread[i].tid == uint32(tid) {
				s.thread[i].blocked = mask
			}
		}
	})
}

// SetRanges publishes ranges, in order: as many as there is room for.
func (m *Member) SetRanges(each func(yield func(Range))) {
	m.write(func(s *slot) {
		s.ranges = 0
		each(func(r Range) {
			if s.ranges < maxRanges {
				s.rng[s.ranges] = packRange(&r)
				s.ranges++
			}
		})
	})
}

// Find gives what process pid says, which began when start says.
func (t *Tree) Find(pid int, start func() uint64) (*Info, bool) {
	n := t.entry(uint32(pid))
	if n < 0 {
		return nil, false
	}
	s, ok := t.mem.read(n)
	if !ok || s.start == 0 && s.threads == 0 || s.start != 0 && s.start != start() {
		return nil, false
	}
	return s.info(), true
}
