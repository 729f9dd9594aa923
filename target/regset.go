package target

import "fmt"

// The XSAVE components that hold registers (their bits in XCR0).
const (
	compX87     = 0
	compSSE     = 1
	compAVX     = 2
	compOpmask  = 5
	compZMMHigh = 6 // bits 511–256 of zmm0–15
	compZMM16   = 7 // zmm16–31
	compPKRU    = 9
)

// gdb's standard features (gdb manual, "Standard Target Features", i386).
const (
	featureCore     = "org.gnu.gdb.i386.core"
	featureSSE      = "org.gnu.gdb.i386.sse"
	featureLinux    = "org.gnu.gdb.i386.linux"
	featureSegments = "org.gnu.gdb.i386.segments"
	featureAVX      = "org.gnu.gdb.i386.avx"
	featureAVX512   = "org.gnu.gdb.i386.avx512"
	featurePKeys    = "org.gnu.gdb.i386.pkeys"
)

// RegisterSet is the list of registers that a process has, in the order of gdbserver's amd64-linux descriptions: the
// index is gdb's register number in the g packet. It is constant.
type RegisterSet struct {
	Registers []Register
	byName    map[string]int
}

// NewRegisterSet gives the registers of a process with that extended state.
func NewRegisterSet(xcr0 uint64, layout XsaveLayout) *RegisterSet {
	b := setBuilder{xcr0: xcr0, layout: layout}
	b.core()
	b.sse()
	b.general(featureLinux, "orig_rax", 64, "int", -1, func(r *Regs) *uint64 { return &r.OrigRax })
	b.general(featureSegments, "fs_base", 64, "int", 58, func(r *Regs) *uint64 { return &r.FsBase })
	b.general(featureSegments, "gs_base", 64, "int", 59, func(r *Regs) *uint64 { return &r.GsBase })
	b.avx()
	b.avx512()
	b.pkeys()
	s := &RegisterSet{Registers: b.regs, byName: make(map[string]int, len(b.regs))}
	for i := range s.Registers {
		s.byName[s.Registers[i].Name] = i
	}
	return s
}

// Lookup gives the number of the register of that name, -1 if there is none.
func (s *RegisterSet) Lookup(name string) int {
	if n, ok := s.byName[name]; ok {
		return n
	}
	return -1
}

type setBuilder struct {
	regs   []Register
	xcr0   uint64
	layout XsaveLayout
}

// component gives the offset of a component, if the process has it with at least size bytes.
func (b *setBuilder) component(bit uint8, size uint32) (uint32, bool) {
	if b.xcr0>>bit&1 == 0 {
		return 0, false
	}
	for _, c := range b.layout.Components {
		if c.Bit == bit && c.Size >= size && c.Offset+c.Size <= b.layout.Size {
			return c.Offset, true
		}
	}
	return 0, false
}

func (b *setBuilder) general(feature, name string, bits int, typ string, dwarf int, at func(*Regs) *uint64) {
	b.regs = append(b.regs, Register{Name: name, Bits: bits, Type: typ, Feature: feature, DWARF: dwarf, place: place{general: at}})
}

func (b *setBuilder) extended(r Register, component uint8, offset, bytes uint32) {
	r.place = place{component: component, offset: offset, bytes: bytes}
	for _, c := range b.layout.Components {
		if c.Bit == component {
			r.place.start, r.place.end = c.Offset, c.Offset+c.Size
		}
	}
	b.regs = append(b.regs, r)
}

// bank adds count registers, named with the numbers from first on, one every stride bytes.
func (b *setBuilder) bank(r Register, name string, first, count int, component uint8, offset, stride uint32) {
	for i := range count {
		r.Name = fmt.Sprintf(name, first+i)
		one := r
		if r.DWARF >= 0 {
			one.DWARF = r.DWARF + i
		}
		b.extended(one, component, offset+uint32(i)*stride, uint32(r.Bits/8))
	}
}

// generals are the first 24 registers.
var generals = []struct {
	name  string
	bits  int
	typ   string
	dwarf int
	at    func(*Regs) *uint64
}{
	{"rax", 64, "int64", 0, func(r *Regs) *uint64 { return &r.Rax }},
	{"rbx", 64, "int64", 3, func(r *Regs) *uint64 { return &r.Rbx }},
	{"rcx", 64, "int64", 2, func(r *Regs) *uint64 { return &r.Rcx }},
	{"rdx", 64, "int64", 1, func(r *Regs) *uint64 { return &r.Rdx }},
	{"rsi", 64, "int64", 4, func(r *Regs) *uint64 { return &r.Rsi }},
	{"rdi", 64, "int64", 5, func(r *Regs) *uint64 { return &r.Rdi }},
	{"rbp", 64, "data_ptr", 6, func(r *Regs) *uint64 { return &r.Rbp }},
	{"rsp", 64, "data_ptr", 7, func(r *Regs) *uint64 { return &r.Rsp }},
	{"r8", 64, "int64", 8, func(r *Regs) *uint64 { return &r.R8 }},
	{"r9", 64, "int64", 9, func(r *Regs) *uint64 { return &r.R9 }},
	{"r10", 64, "int64", 10, func(r *Regs) *uint64 { return &r.R10 }},
	{"r11", 64, "int64", 11, func(r *Regs) *uint64 { return &r.R11 }},
	{"r12", 64, "int64", 12, func(r *Regs) *uint64 { return &r.R12 }},
	{"r13", 64, "int64", 13, func(r *Regs) *uint64 { return &r.R13 }},
	{"r14", 64, "int64", 14, func(r *Regs) *uint64 { return &r.R14 }},
	{"r15", 64, "int64", 15, func(r *Regs) *uint64 { return &r.R15 }},
	{"rip", 64, "code_ptr", 16, func(r *Regs) *uint64 { return &r.Rip }},
	{"eflags", 32, "i386_eflags", 49, func(r *Regs) *uint64 { return &r.Eflags }},
	{"cs", 32, "int32", 51, func(r *Regs) *uint64 { return &r.Cs }},
	{"ss", 32, "int32", 52, func(r *Regs) *uint64 { return &r.Ss }},
	{"ds", 32, "int32", 53, func(r *Regs) *uint64 { return &r.Ds }},
	{"es", 32, "int32", 50, func(r *Regs) *uint64 { return &r.Es }},
	{"fs", 32, "int32", 54, func(r *Regs) *uint64 { return &r.Fs }},
	{"gs", 32, "int32", 55, func(r *Regs) *uint64 { return &r.Gs }},
}

// x87Control are the control registers, where FXSAVE64 keeps them (Intel SDM 1, table 10-2; the pointers' high
// halves are gdb's segments).
var x87Control = []struct {
	name          string
	offset, bytes uint32
	tag           bool
	dwarf         int
}{
	{"fctrl", 0, 2, false, 65},
	{"fstat", 2, 2, false, 66},
	{"ftag", 4, 1, true, -1},
	{"fiseg", 12, 4, false, -1},
	{"fioff", 8, 4, false, -1},
	{"foseg", 20, 4, false, -1},
	{"fooff", 16, 4, false, -1},
	{"fop", 6, 2, false, -1},
}

func (b *setBuilder) core() {
	for _, g := range generals {
		b.general(featureCore, g.name, g.bits, g.typ, g.dwarf, g.at)
	}
	b.bank(Register{Bits: 80, Type: "i387_ext", Feature: featureCore, DWARF: 33}, "st%d", 0, 8, compX87, 32, 16)
	for _, c := range x87Control {
		r := Register{Name: c.name, Bits: 32, Type: "int", Group: "float", Feature: featureCore, DWARF: c.dwarf}
		r.place = place{component: compX87, offset: c.offset, bytes: c.bytes, tag: c.tag}
		b.regs = append(b.regs, r)
	}
}

func (b *setBuilder) sse() {
	b.bank(Register{Bits: 128, Type: "vec128", Feature: featureSSE, DWARF: 17}, "xmm%d", 0, 16, compSSE, 160, 16)
	b.extended(Register{Name: "mxcsr", Bits: 32, Type: "i386_mxcsr", Group: "vector", Feature: featureSSE, DWARF: 64}, compSSE, offsetMXCSR, 4)
}

func (b *setBuilder) avx() {
	if off, ok := b.component(compAVX, 16*16); ok {
		b.bank(Register{Bits: 128, Type: "uint128", Feature: featureAVX, DWARF: -1}, "ymm%dh", 0, 16, compAVX, off, 16)
	}
}

func (b *setBuilder) avx512() {
	mask, ok1 := b.component(compOpmask, 8*8)
	high, ok2 := b.component(compZMMHigh, 16*32)
	upper, ok3 := b.component(compZMM16, 16*64)
	if !ok1 || !ok2 || !ok3 {
		return
	}
	const f = featureAVX512
	b.bank(Register{Bits: 128, Type: "vec128", Feature: f, DWARF: 67}, "xmm%d", 16, 16, compZMM16, upper, 64)
	b.bank(Register{Bits: 128, Type: "uint128", Feature: f, DWARF: -1}, "ymm%dh", 16, 16, compZMM16, upper+16, 64)
	b.bank(Register{Bits: 64, Type: "uint64", Feature: f, DWARF: 118}, "k%d", 0, 8, compOpmask, mask, 8)
	b.bank(Register{Bits: 256, Type: "v2ui128", Feature: f, DWARF: -1}, "zmm%dh", 0, 16, compZMMHigh, high, 32)
	b.bank(Register{Bits: 256, Type: "v2ui128", Feature: f, DWARF: -1}, "zmm%dh", 16, 16, compZMM16, upper+32, 64)
}

func (b *setBuilder) pkeys() {
	if off, ok := b.component(compPKRU, 4); ok {
		b.extended(Register{Name: "pkru", Bits: 32, Type: "int", Feature: featurePKeys, DWARF: -1}, compPKRU, off, 4)
	}
}
