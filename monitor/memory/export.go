package memory

import (
	"kmdev/monitor/handover"

	"golang.org/x/sys/unix"
)

// State is an address space's state apart from its contents, for a process that has the same memory in its window: a
// fork's child.
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
func (as *AddressSpace) Export() (s State) {
	as.Freeze(func(now State) { s = now })
	return s
}

// Freeze calls f with the state, which no other thread changes meanwhile, nor the mappings on the host: a fork by f gives
// the child memory that the state describes. f must not use as.
func (as *AddressSpace) Freeze(f func(State)) {
	as.mu.Lock()
	defer as.mu.Unlock()
	f(as.export())
}

func (as *AddressSpace) export() State {
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

// Encode writes s for Decode.
func (s *State) Encode(w *handover.Writer) {
	w.Uints(s.StackTop, s.MmapTop, s.MmapBottom, s.BrkStart, s.Brk, uint64(s.Future), s.Object)
	w.Int(len(s.VMAs))
	for i := range s.VMAs {
		v := &s.VMAs[i]
		w.Uints(v.Start, v.End, uint64(v.Prot), uint64(v.Flags), v.Offset, v.Dev, v.Ino, v.Object, v.Extent, v.Page)
		w.Uint(v.Host)
		w.Bool(v.Advised)
		w.Bool(v.Huge)
		w.String(v.Name)
	}
}

// encodedVMA is how many bytes of a state a VMA takes at least.
const encodedVMA = 14 * 8

// Decode reads what Encode wrote.
func (s *State) Decode(r *handover.Reader) {
	*s = State{StackTop: r.Uint(), MmapTop: r.Uint(), MmapBottom: r.Uint(), BrkStart: r.Uint(), Brk: r.Uint(),
		Future: Flags(r.Uint()), Object: r.Uint()}
	s.VMAs = make([]VMA, r.Count(encodedVMA))
	for i := range s.VMAs {
		v := &s.VMAs[i]
		*v = VMA{Start: r.Uint(), End: r.Uint(), Prot: uint32(r.Uint()), Flags: Flags(r.Uint()), Offset: r.Uint(),
			Dev: r.Uint(), Ino: r.Uint(), Object: r.Uint(), Extent: r.Uint(), Page: r.Uint()}
		v.Host = r.Uint()
		v.Advised, v.Huge = r.Bool(), r.Bool()
		v.Name = r.String()
	}
}
