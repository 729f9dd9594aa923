package memory

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTablesModel sets, changes and clears random ranges and compares every page with a map. Frames stay linear, as slots
// keep them.
func TestTablesModel(t *testing.T) {
	const base, pages = 0x7fff_f000_0000 & ^(uint64(largePage)*512 - 1), 6 * 512
	for seed := range uint64(12) {
		as, _ := newSpace(t, func(c *Config) { c.NoLargePages = seed%3 == 2 })
		gpa := func(i uint64) uint64 { return 64<<30 + i*pageSize }
		want := make([]uint64, pages)
		r := rand.New(rand.NewPCG(seed, 5))
		for step := range 1500 {
			i := r.Uint64N(pages)
			n := 1 + r.Uint64N(pages-i)
			if r.IntN(3) > 0 {
				n = min(n, 1+r.Uint64N(600))
			}
			if r.IntN(4) == 0 {
				i, n = i&^511, 512
			}
			start, end := base+i*pageSize, base+(i+n)*pageSize
			bits := leafBits(pick(r, allProts[1:]...))
			switch r.IntN(4) {
			case 0:
				as.tables.clear(start, end)
				clear(want[i : i+n])
			case 1:
				as.tables.change(start, end, func(b uint64) uint64 { return meet(b, bits) })
				for j := i; j < i+n; j++ {
					if want[j] != 0 {
						want[j] = meet(want[j], bits)
					}
				}
			case 2:
				if err := as.tables.set(start, end, gpa(i), bits); err != nil {
					t.Fatal(err)
				}
				for j := i; j < i+n; j++ {
					want[j] = bits
				}
			case 3:
				as.tables.change(start, end, func(uint64) uint64 { return bits })
				for j := i; j < i+n; j++ {
					if want[j] != 0 {
						want[j] = bits
					}
				}
			}
			if step%10 == 0 {
				checkTables(t, as, base, want, gpa)
			}
		}
		as.tables.clear(0, ^uint64(0)>>17)
		if as.tables.pages != 0 || as.tables.pool.inUse != 1+len(as.tables.retired) {
			t.Fatalf("after clearing all: %d entries, %d table pages, %d retired", as.tables.pages, as.tables.pool.inUse, len(as.tables.retired))
		}
		as.Close()
	}
}

func checkTables(t *testing.T, as *AddressSpace, base uint64, want []uint64, gpa func(uint64) uint64) {
	t.Helper()
	n := uint64(0)
	for i, bits := range want {
		a := base + uint64(i)*pageSize
		e, size := as.tables.entry(a)
		if bits != 0 {
			n++
		}
		switch {
		case bits == 0 && e != 0, bits != 0 && e == 0:
			t.Fatalf("page %d: entry %#x, want rights %#x", i, e, bits)
		case bits == 0:
		case e&^(frameMask|0x80) != bits, e&frameMask != gpa(uint64(i))&^(size-1), size == largePage && e&0x80 == 0:
			t.Fatalf("page %d: entry %#x of %#x bytes, want %#x", i, e, size, gpa(uint64(i))|bits)
		}
	}
	if n != as.tables.pages {
		t.Fatalf("%d pages have entries, counted %d", n, as.tables.pages)
	}
}

// TestSlotsStayFlat maps, uses and unmaps fresh addresses for ever: slots, guest-physical space and table pages stay few.
func TestSlotsStayFlat(t *testing.T) {
	as, f := newSpace(t)
	const start = 0x1000_0000
	addr := uint64(start)
	for i := range 30000 {
		a := as.mustMap(t, addr, 8*pageSize, rw, private|fixed)
		if r := as.Fault(a, 6, 0); !r.Resolved() {
			t.Fatalf("fault %d: %+v", i, r)
		}
		as.Munmap(a, 8*pageSize)
		addr += 37 << 20
	}
	s := as.Stats()
	t.Logf("%+v, at most %d slots", s, f.max)
	if f.max > 2*maxIdleSlots || s.SlotBytes > 16<<30 || s.TablePages > 3*maxRetired {
		t.Fatalf("not flat: %+v, at most %d slots", s, f.max)
	}
	if as.slots.gpas.next > testPhysBase+64<<30 {
		t.Fatalf("guest-physical space up to %#x", as.slots.gpas.next)
	}
	checkInvariants(t, as, f)
}

// TestSlotsRunOut uses more memory than there are slots and guest-physical addresses for: some are taken from elsewhere.
func TestSlotsRunOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"slots", func(c *Config) { c.MaxSlots = 20 }},
		{"addresses", func(c *Config) { c.PhysBits = 33 }},
	} {
		as, f := newSpace(t, c.change)
		var at []uint64
		for i := range uint64(300) {
			a := as.mustMap(t, (i+1)<<32, 64*pageSize, rw, private|fixed)
			at = append(at, a)
			if r := as.Fault(a, 6, 0); !r.Resolved() {
				t.Fatalf("%s: fault %d: %+v", c.name, i, r)
			}
			if e, _ := as.tables.entry(a); e == 0 {
				t.Fatalf("%s: no entry", c.name)
			}
		}
		checkInvariants(t, as, f)
		for _, a := range at {
			if e, _ := as.tables.entry(a); e == 0 && !as.Fault(a, 6, 0).Resolved() {
				t.Fatalf("%s: again", c.name)
			}
		}
		checkInvariants(t, as, f)
		if s := as.Stats(); s.Evictions == 0 || f.max > 20 && c.name == "slots" {
			t.Fatalf("%s: %+v, %d slots", c.name, s, f.max)
		}
		as.Close()
	}
}

// TestNoMemoryForTables: when no table page can be had any more, rights are still taken away exactly, and what can't be
// mapped is a signal and not a wrong entry.
func TestNoMemoryForTables(t *testing.T) {
	as, f := newSpace(t)
	a := as.mustMap(t, 1<<30, 4*largePage, rw, private|fixed)
	as.Madvise(a, 4*largePage, unix.MADV_POPULATE_READ)
	if _, size := as.tables.entry(a); size != largePage {
		t.Fatal("no 2 MiB entry")
	}
	f.fail = unix.ENOMEM
	pool := as.tables.pool
	free, fresh := pool.free, pool.fresh
	pool.free, pool.fresh = nil, pool.end
	if e := errno(as.Mprotect(a+5*pageSize, pageSize, unix.PROT_READ)); e != 0 {
		t.Errorf("mprotect: %v", e)
	}
	if e := errno(as.Munmap(a+largePage+pageSize, pageSize)); e != 0 {
		t.Errorf("munmap: %v", e)
	}
	for _, p := range []uint64{a, a + 5*pageSize, a + largePage} {
		if e, _ := as.tables.entry(p); e != 0 {
			t.Errorf("entry %#x at %#x", e, p)
		}
	}
	if e, _ := as.tables.entry(a + 2*largePage); e == 0 {
		t.Error("an entry that has nothing to do with it is gone")
	}
	if r := as.Fault(a+5*pageSize, 4, 0); r.Signal != unix.SIGBUS {
		t.Errorf("fault without a table page: %+v", r)
	}
	checkInvariants(t, as, f)
	f.fail, pool.free, pool.fresh = nil, free, fresh
	if r := as.Fault(a+5*pageSize, 4, 0); r != resolved {
		t.Errorf("fault: %+v", r)
	}
	if r := as.Fault(a+5*pageSize, 6, 0); r != accErr {
		t.Errorf("write fault: %+v", r)
	}
	checkInvariants(t, as, f)
}
