package target

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// avx512 is the layout of Intel CPUs with AVX-512 and PKU.
var avx512 = XsaveLayout{Size: 2696, Components: []XsaveComponent{
	{2, 576, 256}, {5, 1088, 64}, {6, 1152, 512}, {7, 1664, 1024}, {9, 2688, 8},
}}

const allXCR0 = 0x2e7

func TestRegisterNumbersAreGdbservers(t *testing.T) {
	s := NewRegisterSet(allXCR0, avx512)
	for name, want := range map[string]int{
		"rax": 0, "rip": 16, "eflags": 17, "gs": 23, "st0": 24, "fctrl": 32, "fop": 39, "xmm0": 40, "mxcsr": 56,
		"orig_rax": 0x39, "fs_base": 58, "gs_base": 59, "ymm0h": 60, "xmm16": 76, "ymm16h": 92, "k0": 108, "zmm0h": 116,
		"zmm31h": 147, "pkru": 148, "nonsense": -1,
	} {
		if got := s.Lookup(name); got != want {
			t.Errorf("%s is number %d, want %d", name, got, want)
		}
	}
	size := 0
	for i := range s.Registers {
		size += s.Registers[i].Size()
	}
	if want := 16*8 + 8 + 7*4 + 80 + 32 + 256 + 4 + 3*8 + 256 + 512 + 64 + 1024 + 4; size != want {
		t.Errorf("a g packet holds %d bytes, want %d", size, want)
	}
}

func TestFeaturesFollowXCR0(t *testing.T) {
	for _, c := range []struct {
		xcr0 uint64
		last string
	}{{3, "gs_base"}, {7, "ymm15h"}, {0xe7, "zmm31h"}, {0x207, "pkru"}} {
		s := NewRegisterSet(c.xcr0, avx512)
		if got := s.Registers[len(s.Registers)-1].Name; got != c.last {
			t.Errorf("XCR0 %#x: last register is %s, want %s", c.xcr0, got, c.last)
		}
	}
	if s := NewRegisterSet(allXCR0, XsaveLayout{}); s.Lookup("ymm0h") >= 0 {
		t.Error("ymm without a place in the XSAVE area")
	}
}

func TestEveryRegisterRoundTrips(t *testing.T) {
	s := NewRegisterSet(allXCR0, avx512)
	f := RegisterFile{Xsave: make([]byte, avx512.Size)}
	rnd := rand.New(rand.NewPCG(1, 2))
	want := make([][]byte, len(s.Registers))
	for i := range s.Registers {
		r := &s.Registers[i]
		v := make([]byte, r.Size())
		for j := range v {
			v[j] = byte(rnd.Uint32())
		}
		if r.place.tag {
			continue // derived from the registers' contents: TestTagWord
		}
		if r.Extended() {
			clear(v[min(int(r.place.bytes), len(v)):])
		}
		f.Write(r, v)
		want[i] = v
	}
	for i, v := range want {
		if got := f.Read(&s.Registers[i]); v != nil && !bytes.Equal(got, v) {
			t.Errorf("%s = %x, want %x", s.Registers[i].Name, got, v)
		}
	}
}

func TestInitialState(t *testing.T) {
	s := NewRegisterSet(allXCR0, avx512)
	f := RegisterFile{Xsave: bytes.Repeat([]byte{0xaa}, int(avx512.Size))}
	clear(f.Xsave[512:576]) // XSTATE_BV = 0: whatever the bytes say, all is initial
	for name, want := range map[string]uint64{"fctrl": 0x37f, "fstat": 0, "ftag": 0xffff, "mxcsr": 0x1f80, "xmm3": 0, "ymm2h": 0, "k1": 0, "zmm9h": 0} {
		if got := getUint(f.Read(&s.Registers[s.Lookup(name)])); got != want {
			t.Errorf("%s = %#x, want %#x", name, got, want)
		}
	}
	set := func(name string, v uint64) {
		r := &s.Registers[s.Lookup(name)]
		p := make([]byte, r.Size())
		putUint(p, v)
		f.Write(r, p)
	}
	set("ymm3h", 7)
	if bv := binary.LittleEndian.Uint64(f.Xsave[512:]); bv != 1<<compAVX {
		t.Errorf("XSTATE_BV = %#x after writing ymm3h", bv)
	}
	for name, want := range map[string]uint64{"ymm3h": 7, "ymm2h": 0, "xmm3": 0, "fctrl": 0x37f} {
		if got := getUint(f.Read(&s.Registers[s.Lookup(name)])); got != want {
			t.Errorf("after writing ymm3h: %s = %#x, want %#x", name, got, want)
		}
	}
	if f.Write(&s.Registers[s.Lookup("k1")], make([]byte, 8)) {
		t.Error("writing an initial value to an initial component counted as a change")
	}
}

func TestTagWord(t *testing.T) {
	x := xsave(make([]byte, 576))
	x[512] = 1
	x[3] = 6 << 3                                               // top = 6: st0 is physical register 6
	x[4] = 0xc1                                                 // physical 6, 7 and 0 in use
	copy(x[32:], []byte{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f}) // st0 = 1.0
	copy(x[48:], make([]byte, 10))                              // st1 = 0
	copy(x[64:], []byte{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f}) // st2 = inf
	want := uint16(0xffff)&^(3|3<<12|3<<14) | tagSpecial | tagValid<<12 | tagZero<<14
	if got := x.fullTag(); got != want {
		t.Errorf("tag word %#x, want %#x", got, want)
	}
	if got := abridgeTag(want); got != 0xc1 {
		t.Errorf("abridged %#x, want 0xc1", got)
	}
}
