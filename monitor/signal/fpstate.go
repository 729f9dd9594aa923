package signal

import (
	"encoding/binary"

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
	clear(dst)
	initLegacy(dst, x)
	// x87 and SSE are marked as in use: MXCSR then counts in every format KVM may keep the state in.
	le.PutUint64(dst[xsBV:], cpu.Legacy)
	for _, c := range x.Components {
		if c.Mask() == cpu.PKRU {
			le.PutUint32(dst[c.Offset:], initPKRU)
			le.PutUint64(dst[xsBV:], cpu.Legacy|cpu.PKRU)
		}
	}
}

func initLegacy(dst []byte, x *cpu.XState) {
	initX87(dst)
	clear(dst[fxXMM:fxXMMEnd])
	le.PutUint32(dst[fxMXCSR:], initMXCSR)
	le.PutUint32(dst[fxMXCSRMask:], x.MXCSRMask)
}

func initX87(dst []byte) {
	clear(dst[fxFCW:fxMXCSR])
	clear(dst[fxST:fxXMM])
	le.PutUint16(dst[fxFCW:], initFCW)
}

// saveFP makes the FP part of a frame from an image of KVM_GET_XSAVE: standard format, components in their initial
// state written out, then Linux's software bytes and the closing magic. buf is reused if it is large enough.
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
	if inUse&(cpu.SSE|cpu.AVX) == 0 {
		le.PutUint32(buf[fxMXCSR:], initMXCSR)
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

// restoreFP loads the FP state at addr into c.FP as sigreturn does (fpu__restore_sig): none is the initial state, a
// frame without its magic numbers is FXSAVE's. False, and the initial state, where Linux's XRSTOR or FXRSTOR faults.
func (c *Context) restoreFP(addr uint64) bool {
	x := c.XState
	resetFP(x, c.FP)
	if addr == 0 {
		return true
	}
	n := int(x.Size)
	if cap(c.scratch) < n+magicSize {
		c.scratch = make([]byte, n+magicSize)
	}
	img := c.scratch[:n+magicSize]
	if c.Mem.CopyIn(img[:fxEnd], addr) != 0 {
		return false
	}
	if le.Uint32(img[swMagic1:]) != magic1 {
		return fxrstor(x, c.FP, img, addr)
	}
	if c.Mem.CopyIn(img[fxEnd:], addr+fxEnd) != 0 {
		return false
	}
	if le.Uint32(img[n:]) != magic2 {
		return fxrstor(x, c.FP, img, addr)
	}
	if !xrstor(x, c.FP, img[:n], addr, le.Uint64(img[swXFeatures:])&x.Features) {
		resetFP(x, c.FP)
		return false
	}
	return true
}

// fxrstor is FXRSTOR of the FXSAVE image img over the initial state in dst. It fails where the instruction faults.
func fxrstor(x *cpu.XState, dst, img []byte, addr uint64) bool {
	mxcsr := le.Uint32(img[fxMXCSR:])
	if addr%16 != 0 || mxcsr&^x.MXCSRMask != 0 {
		return false
	}
	copy(dst[:fxXMMEnd], img)
	le.PutUint32(dst[fxMXCSRMask:], x.MXCSRMask)
	return true
}

// xrstor is XRSTOR of the components in rfbm from img over the initial state in dst (Intel SDM vol. 1, §13.8). It
// fails where the instruction faults; dst may then be half done.
func xrstor(x *cpu.XState, dst, img []byte, addr, rfbm uint64) bool {
	bv, comp := le.Uint64(img[xsBV:]), le.Uint64(img[xsCompBV:])
	compacted := comp&compactedBit != 0
	if addr%fpAlign != 0 || !headerValid(x, img, bv, comp) {
		return false
	}
	if mxcsrLoaded(rfbm, bv, compacted) {
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
		copy(dst[:fxMXCSR], img)
		copy(dst[fxST:fxXMM], img[fxST:])
	}
	if load&cpu.SSE != 0 {
		copy(dst[fxXMM:fxXMMEnd], img[fxXMM:])
	}
	next := uint32(xsEnd)
	for _, c := range x.Components {
		from := c.Offset
		if compacted {
			if comp&c.Mask() == 0 {
				continue
			}
			if c.Aligned {
				next = (next + 63) &^ 63
			}
			from, next = next, next+c.Size
		}
		if rfbm&c.Mask() != 0 {
			loadComponent(dst, img, c, from, load)
		}
	}
	return true
}

// loadComponent copies a component from img, or initialises it if its bit in load is clear: then its bit in dst's
// header is clear too.
func loadComponent(dst, img []byte, c cpu.Component, from uint32, load uint64) {
	to := dst[c.Offset : c.Offset+c.Size]
	bv := le.Uint64(dst[xsBV:])
	if load&c.Mask() == 0 {
		clear(to)
		le.PutUint64(dst[xsBV:], bv&^c.Mask())
		return
	}
	copy(to, img[from:])
	le.PutUint64(dst[xsBV:], bv|c.Mask())
}

// headerValid is XRSTOR's check of the XSAVE header, for either format.
func headerValid(x *cpu.XState, img []byte, bv, comp uint64) bool {
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
func mxcsrLoaded(rfbm, bv uint64, compacted bool) bool {
	if compacted {
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
