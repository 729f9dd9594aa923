package memory

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestHostMemoryWaits: host memory that the payload never looks at gets no slot, and parts of it get each their own.
func TestHostMemoryWaits(t *testing.T) {
	as, f := newSpace(t)
	mem, err := unix.Mmap(-1, 0, 4*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	before := len(f.slots)
	addr, e := as.MapSpecial([]Part{{Name: "[vvar]", Prot: unix.PROT_READ, Host: uintptr(unsafe.Pointer(&mem[0])), Size: 4 * pageSize}})
	if e != 0 {
		t.Fatal(e)
	}
	if len(f.slots) != before {
		t.Errorf("%d slots before the first touch, want %d", len(f.slots), before)
	}
	if e := errno(as.Munmap(addr+pageSize, pageSize)); e != 0 {
		t.Fatal(e)
	}
	for i, page := range []uint64{addr, addr + 2*pageSize, addr + 3*pageSize} {
		if r := as.Fault(page, 4, 0); r != resolved {
			t.Errorf("page %d: %+v", i, r)
		}
	}
	if n := len(f.slots) - before; n != 2 {
		t.Errorf("%d slots for two parts", n)
	}
	if r := as.Fault(addr+pageSize, 4, 0); r != mapErr {
		t.Errorf("the hole: %+v", r)
	}
	checkInvariants(t, as, f)
}
