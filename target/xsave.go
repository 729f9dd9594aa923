package target

import "encoding/binary"

// Offsets in the XSAVE area (Intel SDM 1, 13.4).
const (
	offsetMXCSR    = 24
	offsetXstateBV = 512
	legacySize     = 512
	headerSize     = 64

	initFCW   = 0x37f
	initMXCSR = 0x1f80
)

// xsave is a standard-format XSAVE area. A component whose bit in XSTATE_BV is clear is in its initial state, whatever
// its bytes say.
type xsave []byte

func (x xsave) valid() bool { return len(x) >= legacySize+headerSize }

func (x xsave) has(component uint8) bool {
	return binary.LittleEndian.Uint64(x[offsetXstateBV:])>>component&1 != 0
}

// readable tells if p's bytes are what the register holds. MXCSR belongs to SSE and AVX both (SDM 1, 13.5.2).
func (x xsave) readable(p *place) bool {
	return x.has(p.component) || p.offset == offsetMXCSR && x.has(compAVX)
}

// read gives the bytes of a register, or its initial value.
func (x xsave) read(p *place) []byte {
	if !x.valid() || int(p.offset+p.bytes) > len(x) {
		return initial(p)
	}
	if !x.readable(p) {
		return initial(p)
	}
	return x[p.offset : p.offset+p.bytes]
}

func initial(p *place) []byte {
	switch {
	case p.component == compX87 && p.offset == 0:
		return binary.LittleEndian.AppendUint16(nil, initFCW)
	case p.offset == offsetMXCSR:
		return binary.LittleEndian.AppendUint32(nil, initMXCSR)
	}
	return nil
}

// write sets the bytes of a register, after bringing the rest of its component out of the initial state.
func (x xsave) write(p *place, value []byte) {
	if !x.valid() || int(p.offset+p.bytes) > len(x) {
		return
	}
	if !x.has(p.component) {
		x.materialise(p)
	}
	copy(x[p.offset:p.offset+p.bytes], value)
}

// materialise writes the initial state of p's component out and marks it as in use.
func (x xsave) materialise(p *place) {
	switch p.component {
	case compX87:
		clear(x[0:offsetMXCSR])
		clear(x[32:160])
		binary.LittleEndian.PutUint16(x, initFCW)
	case compSSE:
		clear(x[160:416])
		if !x.has(compAVX) {
			binary.LittleEndian.PutUint32(x[offsetMXCSR:], initMXCSR)
		}
	default:
		clear(x[min(int(p.start), len(x)):min(int(p.end), len(x))])
	}
	bv := binary.LittleEndian.Uint64(x[offsetXstateBV:])
	binary.LittleEndian.PutUint64(x[offsetXstateBV:], bv|1<<p.component)
}

// Values of the x87 tag word (SDM 1, 8.1.7).
const (
	tagValid = iota
	tagZero
	tagSpecial
	tagEmpty
)

// fullTag makes the 16-bit tag word out of FXSAVE's abridged one (SDM 1, 10.5.1.1).
func (x xsave) fullTag() uint16 {
	if !x.valid() || !x.has(compX87) {
		return 0xffff
	}
	top := int(x[3] >> 3 & 7)
	var tags uint16
	for i := range 8 {
		tag := uint16(tagEmpty)
		if x[4]>>i&1 != 0 {
			st := 32 + 16*((i-top)&7)
			tag = classify(x[st : st+10])
		}
		tags |= tag << (2 * i)
	}
	return tags
}

func classify(st []byte) uint16 {
	exponent := binary.LittleEndian.Uint16(st[8:]) & 0x7fff
	fraction := binary.LittleEndian.Uint64(st)
	switch {
	case exponent == 0 && fraction == 0:
		return tagZero
	case exponent == 0 || exponent == 0x7fff || fraction>>63 == 0:
		return tagSpecial
	}
	return tagValid
}

func abridgeTag(full uint16) byte {
	var abridged byte
	for i := range 8 {
		if full>>(2*i)&3 != tagEmpty {
			abridged |= 1 << i
		}
	}
	return abridged
}
