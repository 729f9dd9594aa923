package signal

import "kmdev/monitor/handover"

// Encode writes t for the next monitor.
func (t *Table) Encode(w *handover.Writer) {
	for i := range t {
		a := &t[i]
		w.Uints(a.Handler, a.Flags, a.Restorer, uint64(a.Mask))
	}
}

// Decode reads what Encode wrote.
func (t *Table) Decode(r *handover.Reader) {
	for i := range t {
		t[i] = Action{Handler: r.Uint(), Flags: r.Uint(), Restorer: r.Uint(), Mask: Set(r.Uint())}
	}
}

// Encode writes s for the next monitor.
func (s *Snapshot) Encode(w *handover.Writer) {
	w.Uints(uint64(s.Blocked), s.Alt.Base, s.Alt.Size, uint64(s.Alt.Flags), s.Trap.Number, s.Trap.Err, s.Trap.CR2)
}

// Decode reads what Encode wrote.
func (s *Snapshot) Decode(r *handover.Reader) {
	s.Blocked = Set(r.Uint())
	s.Alt = AltStack{Base: r.Uint(), Size: r.Uint(), Flags: uint32(r.Uint())}
	s.Trap = Trap{Number: r.Uint(), Err: r.Uint(), CR2: r.Uint()}
}
