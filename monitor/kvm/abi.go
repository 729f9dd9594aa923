package kvm

import "unsafe"

// Regs is struct kvm_regs, the general registers (api.rst §4.11, and sync_regs §6.5).
type Regs struct {
	Rax, Rbx, Rcx, Rdx uint64
	Rsi, Rdi, Rsp, Rbp uint64
	R8, R9, R10, R11   uint64
	R12, R13, R14, R15 uint64
	Rip, Rflags        uint64
}

// Segment is struct kvm_segment: a segment register with its hidden part.
type Segment struct {
	Base     uint64
	Limit    uint32
	Selector uint16
	Type     uint8
	Present  uint8
	DPL      uint8
	DB       uint8
	S        uint8
	L        uint8
	G        uint8
	AVL      uint8
	Unusable uint8
	_        uint8
}

// DTable is struct kvm_dtable, GDTR or IDTR.
type DTable struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// Sregs is struct kvm_sregs, the special registers (api.rst §4.13).
type Sregs struct {
	CS, DS, ES, FS, GS, SS  Segment
	TR, LDT                 Segment
	GDT, IDT                DTable
	CR0, CR2, CR3, CR4, CR8 uint64
	EFER                    uint64
	APICBase                uint64
	InterruptBitmap         [4]uint64
}

// VCPUEvents is struct kvm_vcpu_events (api.rst §4.31); kmdev only carries its size.
type VCPUEvents [64]byte

// Bits of Run.ValidRegs and Run.DirtyRegs (api.rst §6.5, KVM_CAP_SYNC_REGS on x86).
const (
	SyncRegs   = 1 << 0
	SyncSregs  = 1 << 1
	SyncEvents = 1 << 2
)

// Run is struct kvm_run, the page shared with the kernel (api.rst §5). The union of exit data is kept as words;
// accessors decode it.
type Run struct {
	RequestInterruptWindow uint8
	ImmediateExit          uint8
	_                      [6]uint8
	ExitReason             uint32
	ReadyForInterrupt      uint8
	IfFlag                 uint8
	Flags                  uint16
	CR8                    uint64
	APICBase               uint64
	Exit                   [32]uint64
	ValidRegs              uint64
	DirtyRegs              uint64
	Regs                   Regs
	Sregs                  Sregs
	Events                 VCPUEvents
}

// Exit reasons kmdev meets (api.rst §5).
const (
	ExitUnknown       = 0
	ExitException     = 1
	ExitIO            = 2
	ExitDebug         = 4
	ExitHLT           = 5
	ExitMMIO          = 6
	ExitShutdown      = 8
	ExitFailEntry     = 9
	ExitIntr          = 10
	ExitInternalError = 17
	ExitMemoryFault   = 39
)

// IO is what KVM_EXIT_IO carries.
type IO struct {
	Out  bool
	Size uint8 // bytes
	Port uint16
}

// IO decodes the exit data of KVM_EXIT_IO.
func (r *Run) IO() IO {
	w := r.Exit[0]
	return IO{Out: uint8(w) == 1, Size: uint8(w >> 8), Port: uint16(w >> 16)}
}

// CPUIDEntry is struct kvm_cpuid_entry2 (api.rst §4.20).
type CPUIDEntry struct {
	Function, Index, Flags uint32
	Eax, Ebx, Ecx, Edx     uint32
	_                      [3]uint32
}

// CPUIDSignificantIndex marks a leaf whose sub-leaf number counts.
const CPUIDSignificantIndex = 1

// MSR is struct kvm_msr_entry.
type MSR struct {
	Index uint32
	_     uint32
	Data  uint64
}

type memoryRegion struct {
	slot, flags uint32
	gpa, size   uint64
	host        uint64
}

// Flags of SetMemory.
const (
	MemLogDirty = 1 << 0
	MemReadOnly = 1 << 1
)

type xcrs struct {
	n, flags uint32
	xcr      [16]struct {
		index, _ uint32
		value    uint64
	}
	_ [16]uint64
}

type cpuid2 struct {
	n, _    uint32
	entries [MaxCPUIDEntries]CPUIDEntry
}

// MaxCPUIDEntries is how many CPUID leaves a table may have (KVM_MAX_CPUID_ENTRIES).
const MaxCPUIDEntries = 256

type msrs struct {
	n, _    uint32
	entries [16]MSR
}

type signalMask struct {
	len uint32
	set [8]byte
}

// The kernel's own sizes; a mismatch does not compile.
var (
	_ [144 - unsafe.Sizeof(Regs{})]struct{}
	_ [unsafe.Sizeof(Regs{}) - 144]struct{}
	_ [24 - unsafe.Sizeof(Segment{})]struct{}
	_ [unsafe.Sizeof(Segment{}) - 24]struct{}
	_ [312 - unsafe.Sizeof(Sregs{})]struct{}
	_ [unsafe.Sizeof(Sregs{}) - 312]struct{}
	_ [288 - unsafe.Offsetof(Run{}.ValidRegs)]struct{}
	_ [unsafe.Offsetof(Run{}.ValidRegs) - 288]struct{}
	_ [304 - unsafe.Offsetof(Run{}.Regs)]struct{}
	_ [unsafe.Offsetof(Run{}.Regs) - 304]struct{}
	_ [40 - unsafe.Sizeof(CPUIDEntry{})]struct{}
	_ [unsafe.Sizeof(CPUIDEntry{}) - 40]struct{}
	_ [32 - unsafe.Sizeof(memoryRegion{})]struct{}
	_ [unsafe.Sizeof(memoryRegion{}) - 32]struct{}
	_ [392 - unsafe.Sizeof(xcrs{})]struct{}
	_ [unsafe.Sizeof(xcrs{}) - 392]struct{}
)

// Exception is an exception KVM holds for a vCPU but has not delivered; Vector is -1 if there is none.
type Exception struct {
	Vector    int
	ErrorCode uint32
}

// PendingException reads the exception out of struct kvm_vcpu_events: pending or injected.
//
// KVM never reports a software exception as either (x86.c: "as long as the guest RIP isn't advanced, we should expect to
// encounter the exception again"), but a host without VT-x has advanced RIP by then. It still gives the number, which stays
// there after the delivery: whoever sees a #BP delivered must clear it.
func PendingException(e *VCPUEvents) Exception {
	const injected, nr, hasCode, pending, code, breakpoint = 0, 1, 2, 3, 4, 3
	if e[injected] == 0 && e[pending] == 0 && e[nr] != breakpoint {
		return Exception{Vector: -1}
	}
	x := Exception{Vector: int(e[nr])}
	if e[hasCode] != 0 {
		x.ErrorCode = uint32(e[code]) | uint32(e[code+1])<<8 | uint32(e[code+2])<<16 | uint32(e[code+3])<<24
	}
	return x
}

// ClearException removes it; the run page's DirtyRegs must then say SyncEvents.
func ClearException(e *VCPUEvents) { clear(e[:8]) }
