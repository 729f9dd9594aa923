package signal

import "kmdev/monitor/cpu"

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
	img := &c.start
	if c.Mem.CopyIn(img[:fxEnd], addr) != 0 {
		return false
	}
	extended, ok := c.extended(img, addr)
	switch {
	case !ok:
		return false
	case !extended:
		return fxrstor(c.XState, c.FP, img, addr)
	}
	return c.Mem.CopyIn(img[fxEnd:], addr+fxEnd) == 0 &&
		xrstor(c.Mem, c.XState, c.FP, img, addr, le.Uint64(img[swXFeatures:])&c.XState.Features)
}

// extended tells whether img, the FXSAVE region at addr, is followed by the rest of an XSAVE area, by its software
// bytes (check_xstate_in_sigframe). It is not ok where the closing magic should be and no memory is.
func (c *Context) extended(img *[xsEnd]byte, addr uint64) (yes, ok bool) {
	size := le.Uint32(img[swSize:])
	if le.Uint32(img[swMagic1:]) != magic1 || size < xsEnd || size > c.XState.Size || size > le.Uint32(img[swExtended:]) {
		return false, true
	}
	if c.Mem.CopyIn(c.closing[:], addr+uint64(size)) != 0 {
		return false, false
	}
	return le.Uint32(c.closing[:]) == magic2, true
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
