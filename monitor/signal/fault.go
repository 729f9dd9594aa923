package signal

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/kvm"
)

// Exception vectors (Intel SDM vol. 3, table 6-1).
const (
	VectorDE = 0
	VectorDB = 1
	VectorBP = 3
	VectorOF = 4
	VectorBR = 5
	VectorUD = 6
	VectorNM = 7
	VectorTS = 10
	VectorNP = 11
	VectorSS = 12
	VectorGP = 13
	VectorPF = 14
	VectorMF = 16
	VectorAC = 17
	VectorXM = 19
	VectorCP = 21
)

// Page is the address space's verdict on a page fault that it cannot resolve.
type Page uint8

// Verdicts on a page fault.
const (
	PageUnmapped  Page = iota // no VMA there
	PageProtected             // a VMA that does not allow the access
	PageBeyondEOF             // a mapping of a file that ends before
	PagePoisoned              // memory failure
	PageKey                   // a protection key forbids it
)

// Bits of a page fault's error code.
const (
	PFPresent = 1 << 0
	PFWrite   = 1 << 1
	PFUser    = 1 << 2
	PFFetch   = 1 << 4
)

// taskSizeMax is where Linux's kernel half begins, as it shows in error codes.
const taskSizeMax = 0x7fff_ffff_f000

// Bits of DR6.
const (
	dr6Traps = 0xf
	dr6Step  = 1 << 14
)

// Fault is an exception of the payload at CPL 3. Fields beyond Vector matter as their comment says.
type Fault struct {
	Vector uint8
	Err    uint64   // #TS, #NP, #SS, #GP, #PF, #AC, #CP: the error code
	CR2    uint64   // #PF
	Page   Page     // #PF
	Pkey   uint32   // #PF with PageKey
	DR6    uint64   // #DB: as the CPU left it, with its always-one bits or without
	FP     FPStatus // #MF, #XM
}

// faultRow is how Linux treats a vector (arch/x86/kernel/traps.c).
type faultRow struct {
	sig   unix.Signal
	code  int  // 0: force_sig, which says SI_KERNEL and no address
	atRIP bool // si_addr is the instruction; else 0
	err   bool // sigcontext's err is the error code; else 0
}

// faultRows has every vector that CPL 3 can raise. Vectors not here get what #GP gets. Page faults (Fault.page),
// #DB's and floating point's si_code are computed.
var faultRows = map[uint8]faultRow{
	VectorDE: {sig: unix.SIGFPE, code: FPEInt, atRIP: true},
	VectorDB: {sig: unix.SIGTRAP, atRIP: true},
	VectorBP: {sig: unix.SIGTRAP},
	VectorOF: {sig: unix.SIGSEGV},
	VectorBR: {sig: unix.SIGSEGV},
	VectorUD: {sig: unix.SIGILL, code: IllOpn, atRIP: true},
	VectorNM: {sig: unix.SIGILL, code: IllOpc, atRIP: true},
	VectorTS: {sig: unix.SIGSEGV, err: true},
	VectorNP: {sig: unix.SIGBUS, err: true},
	VectorSS: {sig: unix.SIGBUS, err: true},
	VectorGP: {sig: unix.SIGSEGV, err: true},
	VectorMF: {sig: unix.SIGFPE, atRIP: true},
	VectorAC: {sig: unix.SIGBUS, code: BusAln, err: true},
	VectorXM: {sig: unix.SIGFPE, atRIP: true},
	VectorCP: {sig: unix.SIGSEGV, code: SegvCp, err: true},
}

// pageRows says what each verdict on a page fault becomes (arch/x86/mm/fault.c).
var pageRows = [...]struct {
	sig  unix.Signal
	code int
}{
	PageUnmapped:  {unix.SIGSEGV, SegvMap},
	PageProtected: {unix.SIGSEGV, SegvAcc},
	PageBeyondEOF: {unix.SIGBUS, BusAdr},
	PagePoisoned:  {unix.SIGBUS, BusMceAR},
	PageKey:       {unix.SIGSEGV, SegvPku},
}

// pageShift is si_addr_lsb of a poisoned page.
const pageShift = 12

func (f Fault) row() faultRow {
	if row, ok := faultRows[f.Vector]; ok {
		return row
	}
	return faultRows[VectorGP]
}

// Info is the siginfo that Linux makes of the fault; regs are those of the exception. It is false where Linux raises
// no signal and just goes on: a floating-point exception whose cause is gone. Record it with ThreadState.SetTrap (in
// either case) and Actions.Force, then take and deliver it before anything that is pending.
func (f Fault) Info(regs *kvm.Regs) (Siginfo, bool) {
	if f.Vector == VectorPF {
		return f.page(), true
	}
	row := f.row()
	switch f.Vector {
	case VectorDB:
		row.code = f.debugCode()
	case VectorMF:
		row.code = fpCode(f.FP.FSW &^ f.FP.FCW)
	case VectorXM:
		row.code = fpCode(uint16(^(f.FP.MXCSR >> 7) & f.FP.MXCSR))
	}
	switch {
	case row.code != 0 && row.atRIP:
		return FaultInfo(int(row.sig), row.code, regs.Rip), true
	case row.code != 0:
		return FaultInfo(int(row.sig), row.code, 0), true
	}
	return KernelInfo(int(row.sig)), f.Vector != VectorMF && f.Vector != VectorXM
}

func (f Fault) page() Siginfo {
	row := pageRows[f.Page]
	info := FaultInfo(int(row.sig), row.code, f.CR2)
	switch f.Page {
	case PagePoisoned:
		info.set32(offValue, pageShift)
	case PageKey:
		info.set32(offPkey, int32(f.Pkey))
	}
	return info
}

// debugCode is si_code of #DB (get_si_code).
func (f Fault) debugCode() int {
	switch {
	case f.DR6&dr6Step != 0:
		return TrapStep
	case f.DR6&dr6Traps != 0:
		return TrapHW
	}
	return TrapBrk
}

// fpCodes is si_code by unmasked exception bits, first match (fpu__exception_code).
var fpCodes = [...]struct {
	bits uint16
	code int
}{
	{0x01, FPEInv}, {0x04, FPEDiv}, {0x08, FPEOvf}, {0x12, FPEUnd}, {0x20, FPERes},
}

func fpCode(raised uint16) int {
	for _, row := range fpCodes {
		if raised&row.bits != 0 {
			return row.code
		}
	}
	return 0
}

// SetTrap records a fault for the frames to come.
func (t *ThreadState) SetTrap(f Fault) {
	t.trap.Number, t.trap.Err = uint64(f.Vector), 0
	if f.row().err {
		t.trap.Err = f.Err
	}
	if f.Vector != VectorPF {
		return
	}
	t.trap.Err = f.Err | PFUser
	t.trap.CR2 = f.CR2
	if f.CR2 >= taskSizeMax {
		t.trap.Err |= PFPresent // what the kernel half maps is no payload's business
	}
}
