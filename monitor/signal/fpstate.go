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

// FPStatus is what decides about a floating-point exception's si_code: x87 control and status word, and MXCSR.
type FPStatus struct {
	FCW, FSW uint16
	MXCSR    uint32
}

// ReadFPStatus takes it from an image of KVM_GET_XSAVE.
func ReadFPStatus(fp []byte) FPStatus {
	return FPStatus{FCW: le.Uint16(fp[fxFCW:]), FSW: le.Uint16(fp[fxFSW:]), MXCSR: le.Uint32(fp[fxMXCSR:])}
}
