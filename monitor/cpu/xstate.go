package cpu

import (
	"math/bits"
	"sync"
)

// State components of XCR0 (Intel SDM vol. 1, §13.1).
const (
	FP       = 1 << 0
	SSE      = 1 << 1
	AVX      = 1 << 2
	PKRU     = 1 << 9
	TileData = 1 << 18

	// Legacy are the components whose place is architectural: in the FXSAVE region.
	Legacy = FP | SSE
	// Dynamic are the components that a Linux process does not have until it asks for them (arch_prctl
	// ARCH_REQ_XCOMP_PERM); frames and register sets of other processes leave them out.
	Dynamic = TileData
)

// LegacySize and HeaderSize are the fixed parts at the start of an XSAVE area, in bytes.
const (
	LegacySize = 512
	HeaderSize = 64
)

// Component is one state component beyond x87 and SSE.
type Component struct {
	Bit     uint8  // in XCR0
	Offset  uint32 // in the standard format, bytes from the start of the area
	Size    uint32 // bytes
	Aligned bool   // starts at a multiple of 64 in the compacted format
}

// Mask is the component's bit.
func (c Component) Mask() uint64 { return 1 << c.Bit }

// XState is the layout of an XSAVE area that holds a set of components.
type XState struct {
	Features   uint64 // the components, x87 and SSE always among them
	Size       uint32 // bytes in the standard format
	Components []Component
	Compaction bool   // the processor knows the compacted format (XSAVEC)
	MXCSRMask  uint32 // see MXCSRMask
}

// NewXState is the layout for the given components, CPUID leaf 0xD of this processor. Components the processor does
// not have are left out. It executes CPUID once per component: keep the result.
func NewXState(features uint64) *XState {
	x := &XState{Features: Legacy, Size: LegacySize + HeaderSize, MXCSRMask: MXCSRMask()}
	if !HasXSAVE() {
		return x
	}
	lo, _, _, hi := CPUID(0xd, 0)
	a, _, _, _ := CPUID(0xd, 1)
	x.Compaction = a&(1<<1) != 0
	for rest := features & (uint64(hi)<<32 | uint64(lo)) &^ Legacy; rest != 0; rest &= rest - 1 {
		bit := uint8(bits.TrailingZeros64(rest))
		size, offset, flags, _ := CPUID(0xd, uint32(bit))
		x.Components = append(x.Components, Component{Bit: bit, Offset: offset, Size: size, Aligned: flags&2 != 0})
		x.Features |= 1 << bit
		x.Size = max(x.Size, offset+size)
	}
	return x
}

// UserXState is the layout of a Linux process's XSAVE area on this machine: XCR0 without the dynamic components.
var UserXState = sync.OnceValue(func() *XState {
	if !HasXSAVE() {
		return NewXState(Legacy)
	}
	return NewXState(XCR0() &^ Dynamic)
})
