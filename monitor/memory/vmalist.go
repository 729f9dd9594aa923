package memory

import "slices"

// leafCap is how many VMAs a leaf holds at most.
const leafCap = 128

// vmaList is a sorted list of disjoint VMAs: leaves of up to leafCap VMAs, each with the largest gap between two
// neighbours in it. Looking up, changing one VMA and finding a free range each cost a search among the leaves and work
// within one of them, so 60,000 VMAs are no slower than 600.
//
// VMAs are kept by pointer; whoever changes Start or End in place calls touched.
type vmaList struct {
	leaves []*leaf
	n      int
}

type leaf struct {
	v     []*VMA
	gap   uint64 // largest gap between neighbours within the leaf, valid if !stale
	stale bool
}

// pos is a place in a vmaList. It is valid until the list changes.
type pos struct{ leaf, i int }

func (f *leaf) end() uint64 { return f.v[len(f.v)-1].End }

func (f *leaf) maxGap() uint64 {
	if f.stale {
		f.gap, f.stale = 0, false
		for i := 1; i < len(f.v); i++ {
			f.gap = max(f.gap, f.v[i].Start-f.v[i-1].End)
		}
	}
	return f.gap
}

// seek gives the place of the first VMA that ends after addr.
func (l *vmaList) seek(addr uint64) pos {
	li, _ := slices.BinarySearchFunc(l.leaves, addr, func(f *leaf, a uint64) int {
		if f.end() <= a {
			return -1
		}
		return 1
	})
	if li == len(l.leaves) {
		return pos{li, 0}
	}
	i, _ := slices.BinarySearchFunc(l.leaves[li].v, addr, func(v *VMA, a uint64) int {
		if v.End <= a {
			return -1
		}
		return 1
	})
	return pos{li, i}
}

// at gives the VMA at p, nil behind the last one.
func (l *vmaList) at(p pos) *VMA {
	if p.leaf >= len(l.leaves) {
		return nil
	}
	return l.leaves[p.leaf].v[p.i]
}

func (l *vmaList) next(p pos) pos {
	if p.i++; p.i == len(l.leaves[p.leaf].v) {
		return pos{p.leaf + 1, 0}
	}
	return p
}

// before gives the VMA before p and its place, nil if there is none.
func (l *vmaList) before(p pos) (*VMA, pos) {
	if p.i--; p.i < 0 {
		if p.leaf == 0 {
			return nil, p
		}
		p.leaf--
		p.i = len(l.leaves[p.leaf].v) - 1
	}
	return l.at(p), p
}

// find gives the VMA that contains addr, or nil.
func (l *vmaList) find(addr uint64) *VMA {
	if v := l.at(l.seek(addr)); v != nil && v.Start <= addr {
		return v
	}
	return nil
}

// overlaps tells whether a VMA lies in part within [start, end).
func (l *vmaList) overlaps(start, end uint64) bool {
	v := l.at(l.seek(start))
	return v != nil && v.Start < end && start < end
}

// all visits the VMAs that overlap [start, end) in order. The list must not change meanwhile.
func (l *vmaList) all(start, end uint64) func(yield func(*VMA) bool) {
	return func(yield func(*VMA) bool) {
		for p := l.seek(start); ; p = l.next(p) {
			v := l.at(p)
			if v == nil || v.Start >= end || !yield(v) {
				return
			}
		}
	}
}

// touched tells the list that the bounds of the VMA at p have changed (without passing a neighbour's).
func (l *vmaList) touched(p pos) { l.leaves[p.leaf].stale = true }

// insert puts v, which overlaps nothing, in its place.
func (l *vmaList) insert(v *VMA) {
	l.n++
	p := l.seek(v.Start)
	if p.leaf == len(l.leaves) { // behind the last: append to the last leaf
		if p.leaf == 0 {
			l.leaves = append(l.leaves, &leaf{v: append(make([]*VMA, 0, leafCap), v)})
			return
		}
		p.leaf--
		p.i = len(l.leaves[p.leaf].v)
	}
	f := l.leaves[p.leaf]
	if len(f.v) == leafCap {
		p = l.split(p)
		f = l.leaves[p.leaf]
	}
	f.v = slices.Insert(f.v, p.i, v)
	f.stale = true
}

// split halves the full leaf at p and gives p's place in the halves. At the list's end the new leaf starts empty, so that a
// list that grows upwards has full leaves.
func (l *vmaList) split(p pos) pos {
	f := l.leaves[p.leaf]
	half := leafCap / 2
	if p.i == leafCap {
		half = leafCap - 1
	}
	g := &leaf{v: append(make([]*VMA, 0, leafCap), f.v[half:]...), stale: true}
	clear(f.v[half:])
	f.v, f.stale = f.v[:half], true
	l.leaves = slices.Insert(l.leaves, p.leaf+1, g)
	if p.i > half {
		return pos{p.leaf + 1, p.i - half}
	}
	return p
}

// cut makes addr a boundary: a VMA that contains it inside becomes two.
func (l *vmaList) cut(addr uint64) {
	p := l.seek(addr)
	v := l.at(p)
	if v == nil || v.Start >= addr {
		return
	}
	w := v.from(addr)
	v.End = addr
	l.touched(p)
	l.insert(w)
}

// remove takes all VMAs within [start, end) out. No VMA may cross a bound (see cut).
func (l *vmaList) remove(start, end uint64) {
	from := l.seek(start)
	to := l.seek(end)
	if v := l.at(to); v != nil && v.Start < end {
		panic("memory: remove across a VMA")
	}
	if from == to {
		return
	}
	if from.leaf == to.leaf {
		f := l.leaves[from.leaf]
		l.n -= to.i - from.i
		f.v = slices.Delete(f.v, from.i, to.i)
		f.stale = true
		l.dropEmpty(from.leaf, from.leaf+1)
		return
	}
	first := l.leaves[from.leaf]
	l.n -= len(first.v) - from.i
	first.v = slices.Delete(first.v, from.i, len(first.v))
	first.stale = true
	for i := from.leaf + 1; i < to.leaf; i++ {
		l.n -= len(l.leaves[i].v)
		l.leaves[i].v = nil
	}
	upto := to.leaf
	if to.leaf < len(l.leaves) {
		last := l.leaves[to.leaf]
		l.n -= to.i
		last.v = slices.Delete(last.v, 0, to.i)
		last.stale = true
		upto++
	}
	l.dropEmpty(from.leaf, upto)
}

// dropEmpty takes the empty ones of leaves [i, j) out, and joins small ones.
func (l *vmaList) dropEmpty(i, j int) {
	kept := l.leaves[:i]
	for _, f := range l.leaves[i:j] {
		if len(f.v) > 0 {
			kept = append(kept, f)
		}
	}
	l.leaves = slices.Delete(l.leaves, len(kept), j)
	if k := min(i, len(l.leaves)-1); k > 0 && len(l.leaves[k].v)+len(l.leaves[k-1].v) <= leafCap/2 {
		l.leaves[k-1].v = append(l.leaves[k-1].v, l.leaves[k].v...)
		l.leaves[k-1].stale = true
		l.leaves = slices.Delete(l.leaves, k, k+1)
	}
}

// merge joins VMAs that continue each other at every boundary within [start, end].
func (l *vmaList) merge(start, end uint64) {
	p := l.seek(start)
	prev, pp := l.before(p)
	if prev == nil {
		if prev, pp = l.at(p), p; prev == nil {
			return
		}
	}
	for {
		np := l.next(pp)
		next := l.at(np)
		if next == nil || next.Start > end {
			return
		}
		if !prev.continues(next) {
			prev, pp = next, np
			continue
		}
		prev.End = next.End
		prev.Extent = max(prev.Extent, next.Extent)
		prev.Advised = prev.Advised || next.Advised
		prev.Huge = prev.Huge || next.Huge
		// prev now overlaps next, so take next out by place.
		f := l.leaves[np.leaf]
		f.v = slices.Delete(f.v, np.i, np.i+1)
		f.stale = true
		l.n--
		l.touched(pp)
		if len(f.v) == 0 {
			l.leaves = slices.Delete(l.leaves, np.leaf, np.leaf+1)
		}
	}
}
