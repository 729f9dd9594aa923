package loader

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/handover"
)

// Start is a mapped program, ready to run. All addresses are payload addresses.
type Start struct {
	Entry        uint64 // first RIP: the ELF interpreter's entry, or the program's own
	StackPointer uint64 // first RSP, 16-byte aligned: argc is there

	LoadBias   uint64 // address of the program less its address as linked: 0 for ET_EXEC
	ExecLow    uint64 // lowest page of the program
	ExecHigh   uint64 // end of its highest segment
	ProgEntry  uint64 // the program's own entry (AT_ENTRY)
	InterpBase uint64 // load bias of the ELF interpreter (AT_BASE), 0 if none
	VDSO       uint64 // address of the vDSO's ELF header, 0 if none
	Brk        uint64 // start of the heap

	// The fields of /proc/PID/stat and of prctl(PR_SET_MM).
	StartCode, EndCode, StartData, EndData uint64
	StackTop                               uint64 // first address above the stack
	ArgStart, ArgEnd, EnvStart, EnvEnd     uint64 // the strings: /proc/PID/cmdline and environ
	Random                                 uint64 // address of the 16 bytes of AT_RANDOM

	auxv []byte
}

// Auxv is the auxiliary vector as it lies on the stack and as /proc/PID/auxv shows it: pairs of 64-bit words up to and
// including AT_NULL. The caller does not change it.
func (s *Start) Auxv() []byte { return s.auxv }

// heapRoom is what is asked for below the heap's start of a static-PIE, so that its heap can grow there (bytes).
const heapRoom = 1 << 30

// Map maps the program into as, which is empty, and writes its stack. After an error (always an *Error, Fatal) as is in
// an undefined state, like a process that Linux kills here. Map may be called once; the caller still has to Close.
func (p *Program) Map(as Memory) (Start, error) {
	s, f := p.mapAll(as)
	if f != nil {
		f.fatal = true
		return Start{}, f.at(p.Filename)
	}
	return s, nil
}

func (p *Program) mapAll(as Memory) (Start, *fault) {
	var s Start
	top, errno := as.MapStack(p.stackSize(), p.ExecStack)
	if errno != 0 {
		return s, faultf(errno, "has no room for its stack: %s", errno)
	}
	s.StackTop = top
	bias, f := p.exec.mapInto(as, p.interp != nil, top)
	if f != nil {
		return s, f
	}
	p.describe(&s, bias)
	s.Entry = s.ProgEntry
	if p.interp != nil {
		base, f := p.interp.mapInto(as, false, top)
		if f != nil {
			return s, f.within("its ELF interpreter %s ", show(p.interp.name))
		}
		s.InterpBase, s.Entry = base, base+p.interp.entry
	}
	s.Brk = as.SetBrk(p.brk(as, bias))
	if addr, ok := as.MapVDSO(); ok {
		s.VDSO = addr
	}
	return s, p.writeStack(as, &s)
}

func (p *Program) describe(s *Start, bias uint64) {
	l := p.exec.layout
	s.LoadBias = bias
	s.ExecLow, s.ExecHigh = l.low+bias, l.high+bias
	s.ProgEntry = p.exec.entry + bias
	s.StartCode, s.EndCode = l.startCode+bias, l.endCode+bias
	s.StartData, s.EndData = l.startData+bias, l.endData+bias
}

// brk: after the program, except for a program without interpreter that floats: that one lies in the mmap area, where
// a heap could not grow, so Linux puts the heap where programs usually are.
func (p *Program) brk(as Memory, bias uint64) uint64 {
	if p.exec.typ == etDyn && p.interp == nil {
		if at := as.ChoosePIEBase(heapRoom, pageSize); at != 0 {
			return at
		}
	}
	return p.exec.high + bias
}

// mapInto maps the image and returns its load bias. program: where programs go, not where interpreters go.
func (i *image) mapInto(as Memory, program bool, stackTop uint64) (bias uint64, f *fault) {
	if i.typ == etDyn {
		if bias, f = i.place(as, program); f != nil {
			return 0, f
		}
	} else if i.high > stackTop-min(stackTop, MaxStackImage) {
		return 0, faultf(unix.ENOMEM, "is linked at %#x…%#x, where the stack is: link it lower", i.low, i.high)
	}
	for n := range i.segs {
		if f := i.segs[n].mapInto(as, i.fd, bias); f != nil {
			return 0, f
		}
	}
	return bias, nil
}

// place chooses the load bias of an image that may lie anywhere: a multiple of the largest p_align.
func (i *image) place(as Memory, program bool) (uint64, *fault) {
	choose := as.ChooseInterp
	if program {
		choose = as.ChoosePIEBase
	}
	skew := i.low & (i.align - 1)
	base := choose(i.span()+skew, i.align)
	if base == 0 || base > taskSize || i.span()+skew > taskSize-base {
		return 0, faultf(unix.ENOMEM, "needs %#x bytes of addresses in a row, which are not free", i.span())
	}
	return base + skew - i.low, nil
}

func (s *segment) mapInto(as Memory, fd int, bias uint64) *fault {
	if s.fileLen != 0 {
		if _, errno := as.MapFile(s.addr+bias, s.fileLen, s.prot, fd, s.off, true); errno != 0 {
			return faultf(errno, "cannot be mapped: %#x bytes at %#x: %s", s.fileLen, s.addr+bias, errno)
		}
	}
	if s.zeroLen != 0 {
		if errno := as.CopyOut(s.zeroAddr+bias, zeros[:s.zeroLen]); errno != 0 {
			return faultf(errno, "cannot be prepared: %d bytes of .bss at %#x: %s; was the file cut while it was loaded?", s.zeroLen, s.zeroAddr+bias, errno)
		}
	}
	if s.bssLen != 0 {
		if _, errno := as.MapAnon(s.bssAddr+bias, s.bssLen, s.bssProt, true); errno != 0 {
			return faultf(errno, "has no room for its .bss: %#x bytes at %#x: %s", s.bssLen, s.bssAddr+bias, errno)
		}
	}
	return nil
}

var zeros [pageSize]byte

// words are the fields of s that are numbers, in a fixed order.
func (s *Start) words() []*uint64 {
	return []*uint64{&s.Entry, &s.StackPointer, &s.LoadBias, &s.ExecLow, &s.ExecHigh, &s.ProgEntry, &s.InterpBase, &s.VDSO,
		&s.Brk, &s.StartCode, &s.EndCode, &s.StartData, &s.EndData, &s.StackTop, &s.ArgStart, &s.ArgEnd, &s.EnvStart,
		&s.EnvEnd, &s.Random}
}

// Encode writes s for a forked child's monitor.
func (s *Start) Encode(w *handover.Writer) {
	for _, p := range s.words() {
		w.Uint(*p)
	}
	w.Blob(s.auxv)
}

// Decode reads what Encode wrote.
func (s *Start) Decode(r *handover.Reader) {
	for _, p := range s.words() {
		*p = r.Uint()
	}
	s.auxv = append([]byte(nil), r.Blob()...)
}
