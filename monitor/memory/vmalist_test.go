package memory

import (
	"math/rand/v2"
	"testing"
)

// listModel is a vmaList as an array of pages: 0 is a hole, else the protection.
type listModel [6000]uint32

func (m *listModel) gapDown(lo, hi, n, align int) (int, bool) {
	for a := (hi - n) / align * align; a >= lo; a -= align {
		if m.free(a, n) {
			return a, true
		}
	}
	return 0, false
}

func (m *listModel) gapUp(lo, hi, n, align int) (int, bool) {
	for a := (lo + align - 1) / align * align; a+n <= hi; a += align {
		if m.free(a, n) {
			return a, true
		}
	}
	return 0, false
}

func (m *listModel) free(a, n int) bool {
	for _, p := range m[a : a+n] {
		if p != 0 {
			return false
		}
	}
	return true
}

// TestVMAListModel makes random changes to a list of hundreds of VMAs and compares it with the array.
func TestVMAListModel(t *testing.T) {
	most := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		as := &AddressSpace{}
		var m listModel
		for range 8000 {
			a := r.IntN(len(m))
			n := min(len(m)-a, 1+r.IntN(3))
			if r.IntN(500) == 0 {
				n = 1 + r.IntN(len(m)-a)
			}
			prot := uint32(r.IntN(8))
			start, end := uint64(a)*pageSize, uint64(a+n)*pageSize
			var v *VMA
			if prot != 0 {
				v = &VMA{Start: start, End: end, Prot: prot, Offset: start}
			}
			as.replace(start, end, v)
			for i := a; i < a+n; i++ {
				m[i] = prot
			}
			if r.IntN(100) == 0 {
				checkList(t, as)
				checkAgainst(t, as, &m, r)
			}
		}
		most = max(most, len(as.vmas.leaves))
	}
	if most < 5 {
		t.Errorf("at most %d leaves: the test says little", most)
	}
}

func checkAgainst(t *testing.T, as *AddressSpace, m *listModel, r *rand.Rand) {
	t.Helper()
	for i, want := range m {
		got := uint32(0)
		if v := as.vmas.find(uint64(i)*pageSize + 5); v != nil {
			got = v.Prot
		}
		if got != want {
			t.Fatalf("page %d: protection %d, want %d", i, got, want)
		}
	}
	lo := r.IntN(len(m))
	hi := lo + r.IntN(len(m)-lo)
	n, align := 1+r.IntN(20), 1<<r.IntN(5)
	got, ok := as.vmas.gapDown(uint64(lo)*pageSize, uint64(hi)*pageSize, uint64(n)*pageSize, uint64(align)*pageSize)
	want, wantOK := m.gapDown(lo, hi, n, align)
	if ok != wantOK || ok && got != uint64(want)*pageSize {
		t.Fatalf("gapDown(%d, %d, %d, %d): %d %v, want %d %v", lo, hi, n, align, got/pageSize, ok, want, wantOK)
	}
	got, ok = as.vmas.gapUp(uint64(lo)*pageSize, uint64(hi)*pageSize, uint64(n)*pageSize, uint64(align)*pageSize)
	want, wantOK = m.gapUp(lo, hi, n, align)
	if ok != wantOK || ok && got != uint64(want)*pageSize {
		t.Fatalf("gapUp(%d, %d, %d, %d): %d %v, want %d %v", lo, hi, n, align, got/pageSize, ok, want, wantOK)
	}
}

// TestGPASpace allocates and frees at random: blocks don't overlap, are aligned, and free space joins up again.
func TestGPASpace(t *testing.T) {
	const base, limit = 4 << 30, 12 << 30
	g := newGPASpace(base, limit)
	r := rand.New(rand.NewPCG(3, 3))
	type block struct {
		gpa   uint64
		order uint
	}
	var live []block
	for range 20000 {
		if r.IntN(2) == 0 || len(live) == 0 {
			o := uint(minOrder + r.IntN(maxOrder-minOrder+1))
			gpa, ok := g.alloc(o)
			if !ok {
				continue
			}
			if gpa%(1<<o) != 0 || gpa < base || gpa+1<<o > limit {
				t.Fatalf("block %#x of order %d", gpa, o)
			}
			for _, b := range live {
				if gpa < b.gpa+1<<b.order && b.gpa < gpa+1<<o {
					t.Fatalf("%#x/%d overlaps %#x/%d", gpa, o, b.gpa, b.order)
				}
			}
			live = append(live, block{gpa, o})
			continue
		}
		i := r.IntN(len(live))
		g.release(live[i].gpa, live[i].order)
		live[i] = live[len(live)-1]
		live = live[:len(live)-1]
	}
	for _, b := range live {
		g.release(b.gpa, b.order)
	}
	for i := range uint64(8) {
		if gpa, ok := g.alloc(maxOrder); !ok || gpa != base+i<<maxOrder {
			t.Fatalf("after all was freed: block %d of 1 GiB is at %#x %v", i, gpa, ok)
		}
	}
	if _, ok := g.alloc(minOrder); ok {
		t.Fatal("a block beyond the limit")
	}
}
