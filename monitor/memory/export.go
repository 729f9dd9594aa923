package memory

import "golang.org/x/sys/unix"

// State is an address space's state apart from its contents, for a process that has the same memory in its window: a
// fork's child. It can be marshalled.
type State struct {
	VMAs       []VMA
	StackTop   uint64
	MmapTop    uint64
	MmapBottom uint64
	BrkStart   uint64
	Brk        uint64
	Future     Flags
	Object     uint64
}

// Export gives the state.
func (as *AddressSpace) Export() State {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(0, ^uint64(0))
	as.nursery.empty() // the child must not share it
	l := &as.layout
	s := State{StackTop: l.stackTop, MmapTop: l.mmapTop, MmapBottom: l.mmapBottom, BrkStart: l.brkStart, Brk: l.brk,
		Future: as.future, Object: as.object, VMAs: make([]VMA, 0, as.vmas.n)}
	for v := range as.vmas.all(0, ^uint64(0)) {
		s.VMAs = append(s.VMAs, *v)
	}
	return s
}

// Import takes over a state whose memory is in the window of this process, inherited by fork(2): VMAs that fork leaves out
// are left out, locks are not inherited. hostParts gives the host memory of special mappings by their name. as is new.
func (as *AddressSpace) Import(s State, hostParts map[string]uintptr) unix.Errno {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.layout = layout{stackTop: s.StackTop, mmapTop: s.MmapTop, mmapBottom: s.MmapBottom, brkStart: s.BrkStart, brk: s.Brk}
	as.object = s.Object
	for i := range s.VMAs {
		v := s.VMAs[i]
		if v.Flags&DontFork != 0 {
			continue
		}
		v.Flags &^= lockFlags
		if v.hostBacked() {
			p := Part{Name: v.Name, Prot: v.Prot, Size: v.size(), Host: hostParts[v.Name]}
			if p.Host == 0 {
				continue
			}
			if e := as.mapHostPart(&p, &v); e != 0 {
				return e
			}
			continue
		}
		if v.Flags&GrowsDown != 0 {
			as.growing++
		}
		as.vmas.insert(&v)
		as.account(&v, 1)
		if end := min(v.End, v.extent()); v.Page == 0 && end > v.Start && end-v.Start <= eagerFile {
			if as.install(&v, v.Start, end) != nil {
				as.disarm(v.Start, end)
			}
		}
	}
	return 0
}
