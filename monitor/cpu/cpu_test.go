package cpu

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestCPUIDVendorIsTheKernels(t *testing.T) {
	_, b, c, d := CPUID(0, 0)
	var id []byte
	for _, r := range []uint32{b, d, c} {
		id = append(id, byte(r), byte(r>>8), byte(r>>16), byte(r>>24))
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	if m := regexp.MustCompile(`vendor_id\s*:\s*(\S+)`).FindSubmatch(info); m == nil || string(m[1]) != string(id) {
		t.Fatalf("CPUID says %q, /proc/cpuinfo %q", id, m)
	}
}

func TestXStateLayout(t *testing.T) {
	if !HasXSAVE() {
		t.Skip("no XSAVE")
	}
	x := UserXState()
	if x.Features&Legacy != Legacy || x.Features&Dynamic != 0 || x.Features&^XCR0() != 0 {
		t.Fatalf("features %#x with XCR0 %#x", x.Features, XCR0())
	}
	_, enabled, _, _ := CPUID(0xd, 0) // EBX: size of the area for what XCR0 has
	if XCR0()&Dynamic == 0 && x.Size != enabled {
		t.Errorf("size %d, CPUID says %d", x.Size, enabled)
	}
	end := uint32(LegacySize + HeaderSize)
	for _, c := range x.Components {
		if c.Size == 0 || c.Offset < end {
			t.Errorf("component %d at %d+%d overlaps what ends at %d", c.Bit, c.Offset, c.Size, end)
		}
		end = c.Offset + c.Size
	}
	if again := UserXState(); again != x {
		t.Error("UserXState asks the processor twice")
	}
}

func TestXStateSubset(t *testing.T) {
	if x := NewXState(0); x.Features != Legacy || x.Size != 576 || x.Components != nil {
		t.Errorf("%+v", x)
	}
	if x := NewXState(Legacy | 1<<61); x.Features != Legacy {
		t.Errorf("a component that no processor has: %+v", x)
	}
}

func TestMXCSRMask(t *testing.T) {
	m := MXCSRMask()
	if m&0xffbf != 0xffbf {
		t.Errorf("mask %#x lacks architectural bits", m)
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	if mm := m&(1<<17) != 0; mm != strings.Contains(string(info), " misalignsse ") {
		t.Errorf("mask %#x, and /proc/cpuinfo says otherwise about misalignsse", m)
	}
}
