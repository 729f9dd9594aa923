package memory

import "kmdev/monitor/guest"

// tables are the guest's page tables, four levels: 4 = PML4 … 1 = page table.
type tables struct {
	pool *tablePool
	root uint64 // guest-physical
	// retired table pages have no entries and are linked nowhere, but KVM may hold a shadow page made from them: each
	// may only be used again for the place it had.
	retired map[tableKey]uint64
	large   bool // use 2 MiB entries

	pages uint64 // 4 KiB pages that entries cover
}

// tableKey is a table page's place: its level and the first address it maps.
type tableKey struct {
	base  uint64
	level uint8
}

const (
	dirBits   = guest.Present | guest.Writable | guest.User | guest.Accessed
	frameMask = 0x000f_ffff_ffff_f000
	leafBase  = guest.Present | guest.User | guest.Accessed | guest.Dirty
	nx        = uint64(guest.NX)
)

// leafBits are a 4 KiB entry's bits for a protection, 0 if nothing is allowed.
func leafBits(prot uint32) uint64 {
	if prot&protAll == 0 {
		return 0
	}
	b := uint64(leafBase) | nx
	if prot&protWrite != 0 {
		b |= guest.Writable
	}
	if prot&protExec != 0 {
		b &^= nx
	}
	return b
}

// meet are the bits that both a and b allow.
func meet(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a&b&^nx | (a|b)&nx
}

func newTables(pool *tablePool, large bool) (*tables, error) {
	root, err := pool.get()
	return &tables{pool: pool, root: root, retired: map[tableKey]uint64{}, large: large}, err
}

func shift(level uint8) uint { return 12 + 9*uint(level-1) }

// span is what a table of a level maps.
func span(level uint8) uint64 { return 1 << (shift(level) + 9) }

func slotIn(level uint8, gva uint64) uint64 { return gva >> shift(level) & 511 }

// walk gives the table of the level given on gva's path and 0 if there is none; large is set if a 2 MiB entry is in the
// way.
func (t *tables) walk(gva uint64, level uint8) (gpa uint64, large bool) {
	gpa = t.root
	for l := uint8(4); l > level; l-- {
		tab, _ := t.pool.at(gpa)
		e := tab[slotIn(l, gva)]
		if e&guest.Present == 0 {
			return 0, false
		}
		if e&guest.Large != 0 {
			return 0, true
		}
		gpa = e & frameMask
	}
	return gpa, false
}

// entry gives the leaf entry for gva and the bytes it maps; 0 if absent.
func (t *tables) entry(gva uint64) (e, size uint64) {
	gpa := t.root
	for l := uint8(4); ; l-- {
		tab, _ := t.pool.at(gpa)
		e = tab[slotIn(l, gva)]
		if e&guest.Present == 0 {
			return 0, 1 << shift(l)
		}
		if l == 1 || e&guest.Large != 0 {
			return e, 1 << shift(l)
		}
		gpa = e & frameMask
	}
}

// make gives the table of the level given on gva's path and makes what is missing. A 2 MiB entry in the way is split.
func (t *tables) make(gva uint64, level uint8) (uint64, error) {
	gpa := t.root
	for l := uint8(4); l > level; l-- {
		tab, info := t.pool.at(gpa)
		i := slotIn(l, gva)
		e := tab[i]
		switch {
		case e&guest.Large != 0:
			next, err := t.splitLarge(tab, i, gva, e)
			if err != nil {
				return 0, err
			}
			gpa = next
		case e == 0:
			next, err := t.take(gva, l-1)
			if err != nil {
				return 0, err
			}
			tab[i] = next | dirBits
			info.used++
			gpa = next
		default:
			gpa = e & frameMask
		}
	}
	return gpa, nil
}

func key(gva uint64, level uint8) tableKey { return tableKey{alignDown(gva, span(level)), level} }

func (t *tables) take(gva uint64, level uint8) (uint64, error) {
	k := key(gva, level)
	if gpa, ok := t.retired[k]; ok {
		delete(t.retired, k)
		return gpa, nil
	}
	return t.pool.get()
}

// splitLarge replaces the 2 MiB entry e, entry i of tab, by a table that says the same.
func (t *tables) splitLarge(tab *table, i, gva, e uint64) (uint64, error) {
	gpa, err := t.take(gva, 1)
	if err != nil {
		return 0, err
	}
	pt, info := t.pool.at(gpa)
	e &^= guest.Large
	for j := range pt {
		pt[j] = e + uint64(j)*pageSize
	}
	info.used = 512
	tab[i] = gpa | dirBits
	return gpa, nil
}

// set maps [gva, end) to guest-physical gpa on, with the bits of a 4 KiB entry, whatever was there.
func (t *tables) set(gva, end, gpa, bits uint64) error {
	for gva < end {
		stop := min(end, alignDown(gva, largePage)+largePage)
		var err error
		if t.large && stop-gva == largePage && gpa%largePage == 0 {
			err = t.setLarge(gva, gpa|bits|guest.Large)
		} else {
			err = t.setSmall(gva, stop, gpa|bits)
		}
		if err != nil {
			return err
		}
		gpa += stop - gva
		gva = stop
	}
	return nil
}

func (t *tables) setLarge(gva, e uint64) error {
	pd, err := t.make(gva, 2)
	if err != nil {
		return err
	}
	tab, info := t.pool.at(pd)
	i := slotIn(2, gva)
	old := tab[i]
	if old == 0 {
		info.used++
		t.pages += 512
	}
	tab[i] = e
	if old&guest.Present != 0 && old&guest.Large == 0 {
		pt, ptInfo := t.pool.at(old & frameMask)
		t.pages += 512 - uint64(ptInfo.used)
		*pt, ptInfo.used = table{}, 0
		t.retire(key(gva, 1), old&frameMask)
	}
	return nil
}

func (t *tables) retire(k tableKey, gpa uint64) {
	_, info := t.pool.at(gpa)
	info.starts = 0
	t.retired[k] = gpa
}

func (t *tables) setSmall(gva, end, e uint64) error {
	if old, size := t.entry(gva); size == largePage && old&^guest.Large == e&^(uint64(largePage)-1)|e&(pageMask|nx) {
		return nil // a 2 MiB entry says the same already
	}
	gpa, err := t.make(gva, 1)
	if err != nil {
		return err
	}
	pt, info := t.pool.at(gpa)
	for i := slotIn(1, gva); gva < end; gva, i = gva+pageSize, i+1 {
		if pt[i] == 0 {
			info.used++
			t.pages++
		}
		pt[i] = e
		e += pageSize
	}
	return nil
}

// change gives every present entry within [gva, end) the bits f makes of its own; 0 removes it. It can't fail: a 2 MiB entry
// that can't be split for want of memory is removed.
func (t *tables) change(gva, end uint64, f func(bits uint64) uint64) {
	t.changeIn(t.root, 4, gva, end, f)
}

// clear removes the entries within [gva, end), and what is known of touches in tables they were in.
func (t *tables) clear(gva, end uint64) { t.changeIn(t.root, 4, gva, end, nil) }

// edit gives entry e, which maps one whole leaf, the bits f makes of its own; nil and 0 remove it.
func edit(e uint64, f func(uint64) uint64) uint64 {
	if f == nil {
		return 0
	}
	if bits := f(e &^ (frameMask | guest.Large)); bits&guest.Present != 0 {
		return e&(frameMask|guest.Large) | bits
	}
	return 0
}

func (t *tables) changeIn(gpa uint64, level uint8, gva, end uint64, f func(uint64) uint64) {
	tab, info := t.pool.at(gpa)
	step := uint64(1) << shift(level)
	if f == nil {
		info.starts = 0
	}
	for i := slotIn(level, gva); gva < end; i++ {
		stop := min(end, alignDown(gva, step)+step)
		e := tab[i]
		switch {
		case e == 0:
		case level == 1 || e&guest.Large != 0 && stop-gva == step:
			t.changeLeaf(tab, info, i, step, edit(e, f))
		case e&guest.Large != 0:
			if edit(e, f) == e {
				break
			}
			next, err := t.splitLarge(tab, i, gva, e)
			if err != nil {
				t.changeLeaf(tab, info, i, step, 0)
				break
			}
			e = next | dirBits
			fallthrough
		default:
			next := e & frameMask
			t.changeIn(next, level-1, gva, stop, f)
			if _, n := t.pool.at(next); n.used == 0 {
				tab[i] = 0
				info.used--
				t.retire(key(gva, level-1), next)
			}
		}
		gva = stop
	}
}

// changeLeaf makes entry i of tab, which maps size bytes, e.
func (t *tables) changeLeaf(tab *table, info *tableInfo, i, size, e uint64) {
	if tab[i] != e {
		tab[i] = e
	}
	if e == 0 {
		info.used--
		t.pages -= size / pageSize
	}
}

// firstPresent gives the first address within [gva, end) that has an entry, end if none has.
func (t *tables) firstPresent(gva, end uint64) uint64 {
	for gva < end {
		e, size := t.entry(gva)
		if e != 0 {
			return gva
		}
		gva = alignDown(gva, size) + size
	}
	return end
}

// reuse gives the retired pages back to the pool, after KVM has forgotten its shadow pages.
func (t *tables) reuse() {
	for k, gpa := range t.retired {
		t.pool.put(gpa)
		delete(t.retired, k)
	}
}
