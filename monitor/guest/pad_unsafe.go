package guest

import (
	"encoding/binary"
	"unsafe"

	"kmdev/monitor/kvm"
)

// Page-table entry bits.
const (
	Present  = 1 << 0
	Writable = 1 << 1
	User     = 1 << 2
	Accessed = 1 << 5
	Dirty    = 1 << 6
	Large    = 1 << 7
	NX       = 1 << 63
)

// Pad is a landing pad in host memory.
type Pad struct {
	mem []byte
	gpa uint64
	pvm bool
}

// New lays a landing pad out in mem (Size bytes, zero, page-aligned, not yet seen by a vCPU), which is mapped at
// guest-physical gpa. pvm says that SYSCALL stays at CPL 3.
func New(mem []byte, gpa uint64, pvm bool) *Pad {
	p := &Pad{mem: mem, gpa: gpa, pvm: pvm}
	p.idt()
	p.code()
	p.tables()
	return p
}

func (p *Pad) put64(off int, v uint64) { binary.LittleEndian.PutUint64(p.mem[off:], v) }

func kernelVA(off int) uint64 { return KernelBase + uint64(off) }

func (p *Pad) idt() {
	for v := range 256 {
		h := KernelBase + offCode + uint64(stubSize*v)
		if v >= Vectors {
			continue // a payload's INT n beyond the exceptions finds no gate: #GP, as on Linux (INT 0x80 apart)
		}
		dpl := uint64(0)
		if v == 3 || v == 4 {
			dpl = 3 // INT3 and INTO are the payload's to execute
		}
		const ist, gate, present = 1, 0xe, 1
		p.put64(offIDT+16*v, h&0xffff|KernelCS<<16|ist<<32|gate<<40|dpl<<45|present<<47|(h>>16&0xffff)<<48)
		p.put64(offIDT+16*v+8, h>>32)
	}
}

const (
	stubSize     = 16
	offHWSyscall = offCode + Vectors*stubSize
)

func (p *Pad) code() {
	for v := range Vectors {
		// out %al, $PortException+v ; ud2 (the monitor never comes back here)
		copy(p.mem[offCode+stubSize*v:], []byte{0xe6, byte(PortException + v), 0x0f, 0x0b})
	}
	// out %al, $PortHypercall ; sysretq
	copy(p.mem[offHWSyscall:], []byte{0xe6, PortHypercall, 0x48, 0x0f, 0x07})
	// out %al, $PortHypercall ; jmp *%rcx (never reached unless the payload jumps here itself)
	copy(p.mem[offUserEntry:], []byte{0xe6, PortHypercall, 0xff, 0xe1})
}

func (p *Pad) tables() {
	const dir = Present | Writable | Accessed
	p.put64(offPDPT, p.gpa+offPD|dir)
	for i := range Size / largePage {
		p.put64(offPD+8*i, (p.gpa+uint64(i)*largePage)|dir|Dirty|Large)
	}
	const udir = dir | User
	p.put64(offUserPDPT+8*511, p.gpa+offUserPD|udir)
	p.put64(offUserPD+8*511, p.gpa+offUserPT|udir)
	p.put64(offUserPT+8*(UserEntry>>12&511), p.gpa+offUserEntry|Present|User|Accessed|Dirty)
}

// PML4Entries gives the entries of the payload's top-level page table that belong to the landing pad, by index.
func (p *Pad) PML4Entries() map[int]uint64 {
	m := map[int]uint64{KernelIndex: p.gpa + offPDPT | Present | Writable | Accessed}
	if p.pvm {
		m[UserEntryIndex] = p.gpa + offUserPDPT | Present | Writable | User | Accessed
	}
	return m
}

// PVM tells whether the pad is laid out for SYSCALL at CPL 3.
func (p *Pad) PVM() bool { return p.pvm }

// SetPVM changes the guess; the caller lays out the vCPU and sets PML4Entries and MSRs again.
func (p *Pad) SetPVM(pvm bool) { p.pvm = pvm }

// LSTAR is the SYSCALL entry point for this kind of host.
func (p *Pad) LSTAR() uint64 {
	if p.pvm {
		return UserEntry
	}
	return KernelBase + offHWSyscall
}

// Place says where a vCPU stands.
type Place int

// The places that RIP can be at when KVM_RUN returns. The landing pad's OUT may have been executed or not.
const (
	AtUser      Place = iota // in the payload's own code
	AtSyscall                // at or behind the OUT of the SYSCALL entry
	AtSysret                 // at the SYSRET of the SYSCALL entry
	AtException              // in a vector's stub
)

// At is a Place; Vector goes with AtException.
type At struct {
	Place  Place
	Vector int
}

// Where tells what part of the landing pad rip is in. It must be exact for every rip at which KVM_RUN can return, as
// registers are not the payload's own inside the pad.
func (p *Pad) Where(rip uint64) At {
	if rip < UserEntry {
		return At{}
	}
	if off := rip - UserEntry; off < pageSize {
		if off == 0 || off == outSize {
			return At{Place: AtSyscall}
		}
		return At{}
	}
	off := rip - (KernelBase + offCode)
	switch {
	case off < Vectors*stubSize:
		return At{Place: AtException, Vector: int(off / stubSize)}
	case off == Vectors*stubSize:
		return At{Place: AtSyscall}
	case off == Vectors*stubSize+outSize:
		return At{Place: AtSysret}
	}
	return At{}
}

// outSize is the length of OUT imm8, AL.
const outSize = 2

// InitVCPU lays out vCPU id's page: GDT, TSS with its I/O bitmap, IST stack. Before the vCPU's first run only.
func (p *Pad) InitVCPU(id int) {
	page := offVCPU + id*pageSize
	g := page + vcpuGDT
	for i, d := range []uint64{
		0, 0,
		0x00af9b000000ffff, // 0x10 supervisor code, 64 bit
		0x00cf93000000ffff, // 0x18 supervisor data
		0x00cffb000000ffff, // 0x20 payload code, 32 bit (SYSRET's base)
		0x00cff3000000ffff, // 0x28 payload data
		0x00affb000000ffff, // 0x30 payload code, 64 bit
	} {
		p.put64(g+8*i, d)
	}
	base := kernelVA(page + vcpuTSS)
	limit := uint64(tssLimit)
	p.put64(g+tssSel, limit|(base&0xffffff)<<16|0x8b<<40|(base>>24&0xff)<<56)
	p.put64(g+tssSel+8, base>>32)

	t := page + vcpuTSS
	p.put64(t+4, kernelVA(page+vcpuStack))    // RSP0
	p.put64(t+0x24, kernelVA(page+vcpuStack)) // IST1
	binary.LittleEndian.PutUint16(p.mem[t+0x66:], tssBitmap)
	for i := range tssIOBytes {
		p.mem[t+tssBitmap+i] = 0xff
	}
	if p.pvm {
		p.mem[t+tssBitmap+PortHypercall/8] &^= 1 << (PortHypercall % 8)
	}
}

const tssLimit = tssBitmap + tssIOBytes - 1

// Frame reads the exception frame that vector left on vCPU id's stack. On that vCPU's thread, after its exit.
func (p *Pad) Frame(id, vector int) Frame {
	top := offVCPU + id*pageSize + vcpuStack
	raw := (*[6]uint64)(unsafe.Pointer(&p.mem[top-48]))
	f := Frame{RIP: raw[1], CS: raw[2], RFLAGS: raw[3], RSP: raw[4], SS: raw[5]}
	if errorCodes>>vector&1 != 0 {
		f.Err = raw[0]
	}
	return f
}

// CR4 and CR0 bits the payload runs with.
const (
	cr0 = 1<<31 | 1<<16 | 1<<5 | 1<<4 | 1<<1 | 1 // PG WP NE ET MP PE

	cr4Base     = 1<<5 | 1<<9 | 1<<10 // PAE OSFXSR OSXMMEXCPT
	cr4FSGSBase = 1 << 16
	cr4OSXSAVE  = 1 << 18

	efer = 1<<11 | 1<<10 | 1<<8 | 1 // NXE LMA LME SCE
)

// MSR numbers the landing pad sets.
const (
	msrSTAR         = 0xc0000081
	msrLSTAR        = 0xc0000082
	msrSFMASK       = 0xc0000084
	msrKernelGSBase = 0xc0000102
)

// sfmask is Linux's: flags that SYSCALL clears (arch/x86/kernel/cpu/common.c, syscall_init).
const sfmask = 0x257fd5

// MSRs gives the model-specific registers of a new vCPU.
func (p *Pad) MSRs() []kvm.MSR {
	return []kvm.MSR{
		{Index: msrSTAR, Data: KernelCS<<32 | 0x23<<48},
		{Index: msrLSTAR, Data: p.LSTAR()},
		{Index: msrSFMASK, Data: sfmask},
	}
}

// Segments of the payload.
var (
	userCode = kvm.Segment{Limit: 0xffffffff, Selector: UserCS, Type: 0xb, Present: 1, DPL: 3, S: 1, L: 1, G: 1}
	userData = kvm.Segment{Limit: 0xffffffff, Selector: UserSS, Type: 0x3, Present: 1, DPL: 3, DB: 1, S: 1, G: 1}
	nullSeg  = kvm.Segment{Type: 0x3, DPL: 3, S: 1, Unusable: 1}
)

// InitSregs fills the special registers of vCPU id's first entry: long mode at CPL 3 over the page tables at cr3, with
// the FS and GS bases given. apicBase is kept from the vCPU.
func (p *Pad) InitSregs(s *kvm.Sregs, id int, cr3, fsBase, gsBase uint64) {
	page := kernelVA(offVCPU + id*pageSize)
	s.CS, s.SS = userCode, userData
	s.DS, s.ES, s.FS, s.GS = nullSeg, nullSeg, nullSeg, nullSeg
	s.FS.Base, s.GS.Base = fsBase, gsBase
	s.LDT = kvm.Segment{Type: 0x2, Unusable: 1}
	s.TR = kvm.Segment{Base: page + vcpuTSS, Limit: tssLimit, Selector: tssSel, Type: 0xb, Present: 1}
	s.GDT = kvm.DTable{Base: page + vcpuGDT, Limit: gdtSize - 1}
	s.IDT = kvm.DTable{Base: KernelBase + offIDT, Limit: 4095}
	s.CR0, s.CR3, s.CR4, s.EFER = cr0, cr3, cr4Base|cr4FSGSBase|cr4OSXSAVE, efer
}

// ToUser puts CS and SS back to CPL 3, for a resume out of the landing pad's supervisor code.
func ToUser(s *kvm.Sregs) { s.CS, s.SS = userCode, userData }
