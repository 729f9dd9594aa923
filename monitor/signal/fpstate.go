package signal

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
)

// Layout of the FXSAVE region and the XSAVE header (Intel SDM vol. 1, §10.5.1 and §13.4), bytes.
const (
	fxFCW       = 0
	fxFSW       = 2
	fxMXCSR     = 24
	fxMXCSRMask = 28
	fxST        = 32
	fxXMM       = 160
	fxXMMEnd    = 416
	fxSoftware  = 464 // struct _fpx_sw_bytes
	fxEnd       = cpu.LegacySize
	xsBV        = fxEnd
	xsCompBV    = fxEnd + 8
	xsReserved  = fxEnd + 16
	xsEnd       = fxEnd + cpu.HeaderSize
)

// struct _fpx_sw_bytes and what surrounds it (uapi/asm/sigcontext.h).
const (
	swMagic1    = fxSoftware
	swExtended  = fxSoftware + 4
	swXFeatures = fxSoftware + 8
	swSize      = fxSoftware + 16

	magic1    = 0x46505853 // FP_XSTATE_MAGIC1
	magic2    = 0x46505845 // FP_XSTATE_MAGIC2, after the area
	magicSize = 4
)

const (
	fpAlign      = 64
	initFCW      = 0x37f
	initMXCSR    = 0x1f80
	initPKRU     = 0x5555_5554 // Linux's init_pkru
	compactedBit = 1 << 63
)

var le = binary.LittleEndian

// fpFrameSize is the room the FP state takes on the stack, without alignment.
func fpFrameSize(x *cpu.XState) uint64 { return uint64(x.Size) + magicSize }

// InitFP makes dst the FP state that a new program, and a signal handler, starts with: an image for KVM_SET_XSAVE.
func InitFP(x *cpu.XState, dst []byte) { resetFP(x, dst) }

func resetFP(x *cpu.XState, dst []byte) {
	clearFP(x, dst)
	for _, c := range x.Components {
		if c.Mask() == cpu.PKRU {
			le.PutUint32(dst[c.Offset:], initPKRU)
			le.PutUint64(dst[xsBV:], cpu.Legacy|cpu.PKRU)
		}
	}
}

// clearFP makes dst the processor's initial state. x87 and SSE are marked as in use: MXCSR then counts in whatever
// format KVM keeps the state.
func clearFP(x *cpu.XState, dst []byte) {
	clear(dst)
	initX87(dst)
	le.PutUint32(dst[fxMXCSR:], initMXCSR)
	le.PutUint32(dst[fxMXCSRMask:], x.MXCSRMask)
	le.PutUint64(dst[xsBV:], cpu.Legacy)
}

func initX87(dst []byte) {
	clear(dst[fxFCW:fxMXCSR])
	clear(dst[fxST:fxXMM])
	le.PutUint16(dst[fxFCW:], initFCW)
}

// saveFP makes the FP part of a frame from an image of KVM_GET_XSAVE: standard format, components in their initial
// state written out, then Linux's software bytes and the closing magic. MXCSR counts whatever the header says. buf is
// reused if it is large enough.
func saveFP(buf []byte, x *cpu.XState, fp []byte) []byte {
	n := int(x.Size)
	if cap(buf) < n+magicSize {
		buf = make([]byte, n+magicSize)
	}
	buf = buf[:n+magicSize]
	clear(buf)
	copy(buf, fp[:fxXMMEnd])
	inUse := le.Uint64(fp[xsBV:]) & x.Features
	if inUse&cpu.FP == 0 {
		initX87(buf)
	}
	if inUse&cpu.SSE == 0 {
		clear(buf[fxXMM:fxXMMEnd])
	}
	for _, c := range x.Components {
		if inUse&c.Mask() != 0 {
			copy(buf[c.Offset:c.Offset+c.Size], fp[c.Offset:])
		}
	}
	le.PutUint32(buf[swMagic1:], magic1)
	le.PutUint32(buf[swExtended:], uint32(n+magicSize))
	le.PutUint64(buf[swXFeatures:], x.Features)
	le.PutUint32(buf[swSize:], uint32(n))
	// Always set: old programs change these states in the frame and know nothing of the header. PKRU likewise.
	le.PutUint64(buf[xsBV:], inUse|cpu.Legacy|x.Features&cpu.PKRU)
	le.PutUint32(buf[n:], magic2)
	return buf
}

// writeFP writes what saveFP made, except the bytes that XSAVE leaves alone.
func writeFP(m Mem, addr uint64, x *cpu.XState, img []byte) unix.Errno {
	if e := m.CopyOut(addr, img[:fxXMMEnd]); e != 0 {
		return e
	}
	from, to := uint32(fxSoftware), uint32(xsEnd)
	for _, c := range x.Components {
		if c.Offset != to {
			if e := m.CopyOut(addr+uint64(from), img[from:to]); e != 0 {
				return e
			}
			from = c.Offset
		}
		to = c.Offset + c.Size
	}
	if e := m.CopyOut(addr+uint64(from), img[from:to]); e != 0 {
		return e
	}
	return m.CopyOut(addr+uint64(x.Size), img[x.Size:])
}

// restoreFP loads the FP state at addr into c.FP as sigreturn does (fpu__restore_sig): none is the initial state, a
// frame without its magic numbers is FXSAVE's. False, and the initial state, where Linux's XRSTOR or FXRSTOR faults.
func (c *Context) restoreFP(addr uint64) bool {
	ok := addr == 0 || c.loadFP(addr)
	if addr == 0 || !ok {
		resetFP(c.XState, c.FP)
	}
	return ok
}

func (c *Context) loadFP(addr uint64) bool {
	var img [xsEnd]byte
	if c.Mem.CopyIn(img[:fxEnd], addr) != 0 {
		return false
	}
	extended, ok := c.extended(&img, addr)
	switch {
	case !ok:
		return false
	case !extended:
		return fxrstor(c.XState, c.FP, &img, addr)
	}
	return c.Mem.CopyIn(img[fxEnd:], addr+fxEnd) == 0 &&
		xrstor(c.Mem, c.XState, c.FP, &img, addr, le.Uint64(img[swXFeatures:])&c.XState.Features)
}

// extended tells whether img, the FXSAVE region at addr, is followed by the rest of an XSAVE area, by its software
// bytes (check_xstate_in_sigframe). It is not ok where the closing magic should be and no memory is.
func (c *Context) extended(img *[xsEnd]byte, addr uint64) (yes, ok bool) {
	size := le.Uint32(img[swSize:])
	if le.Uint32(img[swMagic1:]) != magic1 || size < xsEnd || size > c.XState.Size || size > le.Uint32(img[swExtended:]) {
		return false, true
	}
	var magic [magicSize]byte
	if c.Mem.CopyIn(magic[:], addr+uint64(size)) != 0 {
		return false, false
	}
	return le.Uint32(magic[:]) == magic2, true
}

// fxrstor makes dst what FXRSTOR of img and the initial state of all else give. It fails where the instruction faults.
func fxrstor(x *cpu.XState, dst []byte, img *[xsEnd]byte, addr uint64) bool {
	mxcsr := le.Uint32(img[fxMXCSR:])
	if addr%16 != 0 || mxcsr&^x.MXCSRMask != 0 {
		return false
	}
	clearFP(x, dst)
	copy(dst[:fxXMMEnd], img[:])
	le.PutUint32(dst[fxMXCSRMask:], x.MXCSRMask)
	return true
}

// xrstor makes dst what XRSTOR of the components in rfbm from addr and the initial state of all else give (Intel SDM
// vol. 1, §13.8); img is the area's start. It fails where the instruction faults; dst may then be half done.
func xrstor(m Mem, x *cpu.XState, dst []byte, img *[xsEnd]byte, addr, rfbm uint64) bool {
	bv, comp := le.Uint64(img[xsBV:]), le.Uint64(img[xsCompBV:])
	if addr%fpAlign != 0 || !headerValid(x, img, bv, comp) {
		return false
	}
	clearFP(x, dst)
	if mxcsrLoaded(rfbm, bv, comp) {
		mxcsr := le.Uint32(img[fxMXCSR:])
		if mxcsr&^x.MXCSRMask != 0 {
			return false
		}
		// Linux then initialises what rfbm lacks, MXCSR being part of SSE there.
		if rfbm&cpu.SSE != 0 {
			le.PutUint32(dst[fxMXCSR:], mxcsr)
		}
	}
	load := rfbm & bv
	if load&cpu.FP != 0 {
		copy(dst[:fxMXCSR], img[:])
		copy(dst[fxST:fxXMM], img[fxST:])
	}
	if load&cpu.SSE != 0 {
		copy(dst[fxXMM:fxXMMEnd], img[fxXMM:])
	}
	for i, c := range x.Components {
		if load&c.Mask() == 0 {
			continue
		}
		if m.CopyIn(dst[c.Offset:c.Offset+c.Size], addr+componentOffset(x, i, comp)) != 0 {
			return false
		}
		le.PutUint64(dst[xsBV:], le.Uint64(dst[xsBV:])|c.Mask())
	}
	return true
}

// componentOffset is where component i of x is in an area whose header has comp as XCOMP_BV.
func componentOffset(x *cpu.XState, i int, comp uint64) uint64 {
	if comp&compactedBit == 0 {
		return uint64(x.Components[i].Offset)
	}
	next := uint64(xsEnd)
	for _, c := range x.Components[:i+1] {
		if comp&c.Mask() == 0 {
			continue
		}
		if c.Aligned {
			next = (next + fpAlign - 1) &^ (fpAlign - 1)
		}
		next += uint64(c.Size)
	}
	return next - uint64(x.Components[i].Size)
}

// headerValid is XRSTOR's check of the XSAVE header, for either format.
func headerValid(x *cpu.XState, img *[xsEnd]byte, bv, comp uint64) bool {
	zeroTo := xsReserved + 8
	if comp&compactedBit != 0 {
		if !x.Compaction || comp&^(compactedBit|x.Features) != 0 || bv&^comp != 0 {
			return false
		}
		zeroTo = xsEnd
	} else if comp != 0 || bv&^x.Features != 0 {
		return false
	}
	for _, b := range img[xsReserved:zeroTo] {
		if b != 0 {
			return false
		}
	}
	return true
}

// mxcsrLoaded tells whether XRSTOR takes MXCSR from memory: the standard format does so for SSE or AVX whatever the
// header says, the compacted one counts it as SSE state.
func mxcsrLoaded(rfbm, bv, comp uint64) bool {
	if comp&compactedBit != 0 {
		return rfbm&bv&cpu.SSE != 0
	}
	return rfbm&(cpu.SSE|cpu.AVX) != 0
}

// FPStatus is what decides about a floating-point exception's si_code: x87 control and status word, and MXCSR.
type FPStatus struct {
	FCW, FSW uint16
	MXCSR    uint32
}

// ReadFPStatus takes it from an image of KVM_GET_XSAVE.
func ReadFPStatus(fp []byte) FPStatus {
	return FPStatus{FCW: le.Uint16(fp[fxFCW:]), FSW: le.Uint16(fp[fxFSW:]), MXCSR: le.Uint32(fp[fxMXCSR:])}
}
