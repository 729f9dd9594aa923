package signal

import (
	"encoding/binary"

	"kmdev/monitor/kvm"
)

// Layout of struct rt_sigframe (arch/x86/include/asm/sigframe.h), bytes from its start, which is 8 below a multiple
// of 16: pretcode, struct ucontext with struct sigcontext in it, siginfo.
const (
	frameSize      = 440
	framePretcode  = 0
	frameUC        = 8
	frameUCLink    = frameUC + 8
	frameAltSP     = frameUC + 16
	frameAltFlags  = frameUC + 24 // 4 bytes, then 4 that Linux does not write
	frameAltSize   = frameUC + 32
	frameGPRs      = frameUC + 40 // in the order of sigcontextGPRs
	frameRflags    = frameGPRs + 17*8
	frameCS        = frameGPRs + 18*8 // cs, gs, fs, ss: 2 bytes each
	frameSS        = frameCS + 6
	frameErr       = frameCS + 8
	frameTrap      = frameErr + 8
	frameOldMask   = frameErr + 16
	frameCR2       = frameErr + 24
	frameFPState   = frameErr + 32
	frameReserved  = frameErr + 40 // 64 bytes that Linux does not write
	frameSigmask   = frameReserved + 64
	frameInfo      = frameSigmask + 8
	frameAlign     = 16
	redZone        = 128
	ucFPXState     = 1
	ucSigcontextSS = 2
	ucStrictSS     = 4
)

// selectors are CS and SS as a frame has them. The payload runs with userSelectors always; others are what a sigreturn
// asked for and the CPU refused, until the handler of the SIGSEGV that came of it is entered.
type selectors struct{ cs, ss uint16 }

// userSelectors are those of 64-bit user code on Linux.
var userSelectors = selectors{cs: 0x33, ss: 0x2b}

// ucFlags are uc_flags of a frame that holds them (frame_uc_flags).
func (s selectors) ucFlags() uint64 {
	if s.cs == userSelectors.cs {
		return ucFPXState | ucSigcontextSS | ucStrictSS
	}
	return ucFPXState | ucSigcontextSS
}

// afterReturn is what Linux's IRET makes of them. Code runs with userSelectors only; a stack segment that no code can
// run with is replaced where the frame does not insist on it (UC_STRICT_RESTORE_SS).
func (s selectors) afterReturn(ucFlags uint64) (selectors, Fault, bool) {
	s.cs |= 3
	s.ss |= 3
	if s.cs == userSelectors.cs && ucFlags&ucStrictSS == 0 {
		s.ss = userSelectors.ss
	}
	switch {
	case s.cs != userSelectors.cs:
		return s, Fault{Vector: VectorGP, Err: uint64(s.cs &^ 3)}, true
	case s.ss != userSelectors.ss:
		return s, Fault{Vector: VectorGP, Err: uint64(s.ss &^ 3)}, true
	}
	return s, Fault{}, false
}

// EFLAGS bits.
const (
	flagCF = 1 << 0
	flagPF = 1 << 2
	flagAF = 1 << 4
	flagZF = 1 << 6
	flagSF = 1 << 7
	flagTF = 1 << 8
	flagDF = 1 << 10
	flagOF = 1 << 11
	flagRF = 1 << 16
	flagAC = 1 << 18

	// flagsRestored are those that sigreturn takes from the frame (FIX_EFLAGS); the others stay as they are.
	flagsRestored = flagAC | flagOF | flagDF | flagTF | flagSF | flagZF | flagAF | flagPF | flagCF | flagRF
)

// sigframe is an rt_sigframe in the making.
type sigframe [frameSize]byte

func (f *sigframe) put(off int, v uint64)   { binary.LittleEndian.PutUint64(f[off:], v) }
func (f *sigframe) put32(off int, v uint32) { binary.LittleEndian.PutUint32(f[off:], v) }
func (f *sigframe) put16(off int, v uint16) { binary.LittleEndian.PutUint16(f[off:], v) }
func (f *sigframe) get(off int) uint64      { return binary.LittleEndian.Uint64(f[off:]) }
func (f *sigframe) get32(off int) uint32    { return binary.LittleEndian.Uint32(f[off:]) }
func (f *sigframe) get16(off int) uint16    { return binary.LittleEndian.Uint16(f[off:]) }

// sigcontextGPRs are the registers at the start of struct sigcontext, in its order. eflags follows them.
func sigcontextGPRs(r *kvm.Regs) [17]*uint64 {
	return [...]*uint64{
		&r.R8, &r.R9, &r.R10, &r.R11, &r.R12, &r.R13, &r.R14, &r.R15,
		&r.Rdi, &r.Rsi, &r.Rbp, &r.Rbx, &r.Rdx, &r.Rax, &r.Rcx, &r.Rsp, &r.Rip,
	}
}

func (f *sigframe) putRegs(r *kvm.Regs) {
	for i, reg := range sigcontextGPRs(r) {
		f.put(frameGPRs+8*i, *reg)
	}
	f.put(frameRflags, r.Rflags)
}

func (f *sigframe) getRegs(r *kvm.Regs) {
	for i, reg := range sigcontextGPRs(r) {
		*reg = f.get(frameGPRs + 8*i)
	}
	r.Rflags = r.Rflags&^flagsRestored | f.get(frameRflags)&flagsRestored
}
