package memory

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"kmdev/monitor/guest"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == nativeArg {
		nativeChild()
	}
	if err := hostcall.Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// fakeSlots checks what KVM would refuse, and remembers the slots.
type fakeSlots struct {
	slots map[uint32]fakeSlot
	max   int
	calls int
	fail  error
}

type fakeSlot struct {
	gpa, size uint64
	host      uintptr
}

func (f *fakeSlots) SetMemory(id, flags uint32, gpa, size uint64, host uintptr) error {
	f.calls++
	if f.fail != nil {
		return f.fail
	}
	old, exists := f.slots[id]
	switch {
	case size == 0 && !exists:
		return fmt.Errorf("deleting slot %d, which is not there: %w", id, unix.EINVAL)
	case size == 0:
		if gpa != old.gpa {
			return fmt.Errorf("deleting slot %d at %#x, which is at %#x", id, gpa, old.gpa)
		}
		delete(f.slots, id)
		return nil
	case exists:
		return fmt.Errorf("slot %d is there already: %w", id, unix.EINVAL)
	case gpa%pageSize != 0 || size%pageSize != 0 || host%pageSize != 0:
		return fmt.Errorf("slot %d: gpa %#x size %#x host %#x: %w", id, gpa, size, host, unix.EINVAL)
	}
	for o, s := range f.slots {
		if gpa < s.gpa+s.size && s.gpa < gpa+size {
			return fmt.Errorf("slot %d overlaps slot %d: %w", id, o, unix.EEXIST)
		}
	}
	f.slots[id] = fakeSlot{gpa, size, host}
	f.max = max(f.max, len(f.slots))
	return nil
}

const (
	testPhysBase = 4 << 30
	testPhysBits = 39
)

// newSpace makes an address space over fake slots. It owns the window until the test ends, so tests don't run in parallel.
func newSpace(t testing.TB, change ...func(*Config)) (*AddressSpace, *fakeSlots) {
	t.Helper()
	f := &fakeSlots{slots: map[uint32]fakeSlot{}}
	c := Config{Slots: f, FirstSlot: 1, MaxSlots: 32764, PhysBase: testPhysBase, PhysBits: testPhysBits, NoASLR: true}
	for _, g := range change {
		g(&c)
	}
	as, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(as.Close)
	return as, f
}

func errno(r uint64) unix.Errno {
	if e := -int64(r); e > 0 && e < 4096 {
		return unix.Errno(e)
	}
	return 0
}

func (as *AddressSpace) mustMap(t testing.TB, addr, length, prot, flags uint64) uint64 {
	t.Helper()
	r := as.Mmap(addr, length, prot, flags, noFD, 0)
	if e := errno(r); e != 0 {
		t.Fatalf("mmap(%#x, %#x): %v", addr, length, e)
	}
	return r
}

const (
	private = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	shared  = unix.MAP_SHARED | unix.MAP_ANONYMOUS
	fixed   = unix.MAP_FIXED
	rw      = unix.PROT_READ | unix.PROT_WRITE
	rx      = unix.PROT_READ | unix.PROT_EXEC
	rwx     = rw | unix.PROT_EXEC
)

// checkInvariants compares every entry, slot and host mapping with the VMA list.
func checkInvariants(t testing.TB, as *AddressSpace, f *fakeSlots) {
	t.Helper()
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(0, ^uint64(0))
	checkList(t, as)
	checkEntries(t, as, f)
	checkHost(t, as)
}

func checkList(t testing.TB, as *AddressSpace) {
	t.Helper()
	var prev *VMA
	var n int
	var total, data uint64
	for v := range as.vmas.all(0, ^uint64(0)) {
		switch {
		case v.Start >= v.End, v.Start%pageSize != 0, v.End%pageSize != 0, v.End > usermem.Size:
			t.Fatalf("bad VMA %+v", *v)
		case prev != nil && prev.End > v.Start:
			t.Fatalf("VMAs overlap: %+v %+v", *prev, *v)
		case prev != nil && prev.continues(v) && v.Flags&GrowsDown == 0: // what has grown is not merged, in Linux neither
			t.Fatalf("VMAs not merged: %+v %+v", *prev, *v)
		}
		prev = v
		n++
		total += v.size()
		if v.accountable() {
			data += v.size()
		}
	}
	if n != as.vmas.n || total != as.total || data != as.data {
		t.Fatalf("counted %d VMAs, %d bytes, %d of data; kept %d, %d, %d", n, total, data, as.vmas.n, as.total, as.data)
	}
	for i, l := range as.vmas.leaves {
		if len(l.v) == 0 || len(l.v) > leafCap {
			t.Fatalf("leaf %d has %d VMAs", i, len(l.v))
		}
		if l.stale {
			continue
		}
		kept := l.gap
		l.stale = true
		if l.maxGap() != kept {
			t.Fatalf("leaf %d: gap %#x, kept %#x", i, l.maxGap(), kept)
		}
	}
}

// checkEntries walks all page tables.
func checkEntries(t testing.TB, as *AddressSpace, f *fakeSlots) {
	t.Helper()
	seen := map[uint64]bool{}
	var pages uint64
	var walk func(gpa uint64, level uint8, base uint64)
	walk = func(gpa uint64, level uint8, base uint64) {
		if seen[gpa] {
			t.Fatalf("table page %#x is linked twice", gpa)
		}
		seen[gpa] = true
		tab, info := as.tables.pool.at(gpa)
		used := 0
		for i, e := range tab {
			if e == 0 || level == 4 && i >= usermem.Size>>39 {
				continue
			}
			used++
			gva := base + uint64(i)<<shift(level)
			if level > 1 && e&0x80 == 0 {
				if e&^frameMask != dirBits {
					t.Fatalf("directory entry %#x at %#x", e, gva)
				}
				walk(e&frameMask, level-1, gva)
				continue
			}
			size := uint64(1) << shift(level)
			pages += size / pageSize
			checkEntry(t, as, f, gva, size, e)
		}
		if used != int(info.used) {
			t.Fatalf("table page %#x of level %d: %d entries, counted %d", gpa, level, used, info.used)
		}
		if used == 0 && level != 4 {
			t.Fatalf("empty table page %#x of level %d is linked", gpa, level)
		}
	}
	walk(as.tables.root, 4, 0)
	if pages != as.tables.pages {
		t.Fatalf("%d pages have entries, counted %d", pages, as.tables.pages)
	}
	for k, gpa := range as.tables.retired {
		if seen[gpa] {
			t.Fatalf("retired table page %#x of %#x is linked", gpa, k.base)
		}
		tab, _ := as.tables.pool.at(gpa)
		if *tab != (table{}) {
			t.Fatalf("retired table page %#x has entries", gpa)
		}
	}
	if got := len(seen) + len(as.tables.retired); got != as.tables.pool.inUse {
		t.Fatalf("%d table pages, counted %d", got, as.tables.pool.inUse)
	}
}

func checkEntry(t testing.TB, as *AddressSpace, f *fakeSlots, gva, size, e uint64) {
	t.Helper()
	v := as.vmas.find(gva)
	if as.firstHole(gva, gva+size) < gva+size {
		t.Fatalf("entry %#x for [%#x, %#x), not all of which is mapped", e, gva, gva+size)
	}
	bits := e&^(frameMask|0x80) | guest.Accessed // it is missing where the touch is waited for
	for v := range as.vmas.all(gva, gva+size) {  // VMAs may differ in other things than rights
		if bits != leafBits(v.Prot) {
			t.Fatalf("entry %#x at %#x with rights %#x, the VMA has %#x", e, gva, bits, leafBits(v.Prot))
		}
	}
	gpa := e & frameMask
	if v.hostBacked() {
		if gpa != v.GPA+gva-v.Start {
			t.Fatalf("entry at %#x leads to %#x", gva, gpa)
		}
		return
	}
	if f == nil {
		return
	}
	for _, s := range f.slots {
		if gpa >= s.gpa && gpa+size <= s.gpa+s.size {
			if got := s.host + uintptr(gpa-s.gpa); got != host(gva) {
				t.Fatalf("entry at %#x leads to %#x, host %#x, want %#x", gva, gpa, got, host(gva))
			}
			return
		}
	}
	t.Fatalf("entry at %#x leads to %#x, where no slot is", gva, gpa)
}
