package target

// Regs are the general registers, in the order and meaning of Linux's user_regs_struct. A thread that stopped inside an
// interrupted system call shows OrigRax = its number and Rax = -ERESTART…, as under ptrace; elsewhere OrigRax is -1.
type Regs struct {
	R15, R14, R13, R12, Rbp, Rbx, R11, R10, R9, R8, Rax, Rcx, Rdx, Rsi, Rdi, OrigRax,
	Rip, Cs, Eflags, Rsp, Ss, FsBase, GsBase, Ds, Es, Fs, Gs uint64
}

// XsaveLayout locates the components of a standard-format XSAVE area (CPUID leaf 0xD).
type XsaveLayout struct {
	Size       uint32 // of the whole area, in bytes
	Components []XsaveComponent
}

// XsaveComponent is one state component other than x87 (0) and SSE (1), whose places are architectural.
type XsaveComponent struct {
	Bit          uint8 // in XCR0
	Offset, Size uint32
}

// RegisterFile is a thread's whole register state.
type RegisterFile struct {
	Regs  Regs
	Xsave []byte
}

// Register describes one register, as debuggers name it.
type Register struct {
	Name    string
	Bits    int
	Type    string // gdb's name of its type
	Group   string // gdb's register group; empty for the default of its type
	Feature string // gdb's feature that holds it
	DWARF   int    // DWARF register number; -1 if it has none
	place   place
}

// place says where a register is kept: in a general register, or in the XSAVE area.
type place struct {
	general   func(*Regs) *uint64
	component uint8
	offset    uint32 // in the XSAVE area
	bytes     uint32 // there; fewer than Bits/8 for 16-bit control words
	tag       bool   // the x87 tag word, kept abridged

	start, end uint32 // of the component, for those above SSE
}

// Size is the register's size in bytes.
func (r *Register) Size() int { return r.Bits / 8 }

// Extended tells if the register is in the XSAVE area.
func (r *Register) Extended() bool { return r.place.general == nil }

// Read gives the register's value, little-endian, Size bytes.
func (f *RegisterFile) Read(r *Register) []byte {
	out := make([]byte, r.Size())
	if r.place.general != nil {
		putUint(out, *r.place.general(&f.Regs))
		return out
	}
	x := xsave(f.Xsave)
	if r.place.tag {
		putUint(out, uint64(x.fullTag()))
		return out
	}
	copy(out, x.read(&r.place))
	return out
}

// Write sets the register to a value of Size bytes. It tells if anything changed.
func (f *RegisterFile) Write(r *Register, value []byte) bool {
	old := f.Read(r)
	if len(value) != len(old) || string(value) == string(old) {
		return false
	}
	if r.place.general != nil {
		*r.place.general(&f.Regs) = getUint(value)
		return true
	}
	x := xsave(f.Xsave)
	if r.place.tag {
		abridged := abridgeTag(uint16(getUint(value)))
		x.write(&r.place, []byte{abridged})
		return true
	}
	x.write(&r.place, value)
	return true
}

func putUint(p []byte, v uint64) {
	for i := range p {
		p[i] = byte(v)
		v >>= 8
	}
}

func getUint(p []byte) uint64 {
	var v uint64
	for i := min(len(p), 8) - 1; i >= 0; i-- {
		v = v<<8 | uint64(p[i])
	}
	return v
}
