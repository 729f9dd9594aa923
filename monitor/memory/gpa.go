package memory

import "slices"

// Orders of the guest-physical allocator: blocks of 2 MiB to 1 GiB.
const (
	minOrder = 21
	maxOrder = 30
)

// gpaSpace hands out naturally aligned power-of-two blocks of guest-physical space, the lowest first (a buddy
// allocator), so that what is in use stays dense: hosts differ in how many address bits their guests have.
type gpaSpace struct {
	next, limit uint64                            // [next, limit) has never been used
	free        [maxOrder - minOrder + 1][]uint64 // by order, sorted
}

func newGPASpace(base, limit uint64) *gpaSpace {
	return &gpaSpace{next: alignUp(base, 1<<maxOrder), limit: alignDown(limit, 1<<maxOrder)}
}

// alloc gives a block of 1<<order bytes.
func (g *gpaSpace) alloc(order uint) (uint64, bool) {
	best, from := ^uint64(0), uint(0)
	for o := order; o <= maxOrder; o++ {
		if f := g.free[o-minOrder]; len(f) > 0 && f[0] < best {
			best, from = f[0], o
		}
	}
	if best == ^uint64(0) {
		if g.next >= g.limit {
			return 0, false
		}
		best, from = g.next, maxOrder
		g.next += 1 << maxOrder
	} else {
		g.free[from-minOrder] = slices.Delete(g.free[from-minOrder], 0, 1)
	}
	for from > order {
		from--
		g.put(best+1<<from, from)
	}
	return best, true
}

func (g *gpaSpace) put(gpa uint64, order uint) {
	f := &g.free[order-minOrder]
	i, _ := slices.BinarySearch(*f, gpa)
	*f = slices.Insert(*f, i, gpa)
}

// release gives a block back and joins it with its free buddies.
func (g *gpaSpace) release(gpa uint64, order uint) {
	for ; order < maxOrder; order++ {
		f := &g.free[order-minOrder]
		i, ok := slices.BinarySearch(*f, gpa^1<<order)
		if !ok {
			break
		}
		*f = slices.Delete(*f, i, i+1)
		gpa &^= 1 << order
	}
	g.put(gpa, order)
}
