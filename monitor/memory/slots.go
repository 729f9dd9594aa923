package memory

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// Slots is KVM's memory slots: a VM's KVM_SET_USER_MEMORY_REGION (api.rst §4.35). All sizes in bytes; size 0 deletes.
type Slots interface {
	SetMemory(slot, flags uint32, gpa, size uint64, host uintptr) error
}

const slotReadOnly = 1 << 1 // KVM_MEM_READONLY

// errNoSlots says that slots or guest-physical space are used up.
var errNoSlots = errors.New("memory: out of memory slots or guest-physical addresses")

// slot is a chunk of payload addresses with guest-physical addresses behind it. Its size is a power of two and both
// addresses are multiples of it.
type slot struct {
	gva, size, gpa uint64
	id             uint32
	random         uint16 // faults in it that continued no stream; see ahead.go
}

func (s *slot) end() uint64 { return s.gva + s.size }

// slotSet holds the slots. It is a cache: a slot may be deleted at any time once the page-table entries that lead to it
// are gone, and the next fault makes it anew.
type slotSet struct {
	kvm    Slots
	window uint64
	gpas   *gpaSpace
	ids    []uint32 // given back
	nextID uint32
	endID  uint32

	byAddr []*slot // sorted by gva
	bytes  uint64  // sum of their sizes

	// deletions counts slots deleted: each makes KVM forget every shadow page.
	deletions uint64
}

func newSlotSet(c *Config, window uint64) *slotSet {
	return &slotSet{kvm: c.Slots, window: window, nextID: c.FirstSlot, endID: uint32(c.MaxSlots),
		gpas: newGPASpace(c.PhysBase, 1<<c.PhysBits)}
}

// index gives the place of the first slot that ends after gva.
func (s *slotSet) index(gva uint64) int {
	i, _ := slices.BinarySearchFunc(s.byAddr, gva, func(x *slot, a uint64) int {
		if x.end() <= a {
			return -1
		}
		return 1
	})
	return i
}

// find gives the slot that contains gva, or nil.
func (s *slotSet) find(gva uint64) *slot {
	if i := s.index(gva); i < len(s.byAddr) && s.byAddr[i].gva <= gva {
		return s.byAddr[i]
	}
	return nil
}

func (s *slotSet) takeID() (uint32, bool) {
	if n := len(s.ids); n > 0 {
		id := s.ids[n-1]
		s.ids = s.ids[:n-1]
		return id, true
	}
	if s.nextID >= s.endID {
		return 0, false
	}
	s.nextID++
	return s.nextID - 1, true
}

// create asks KVM for a slot of size bytes (a power of two, 2 MiB to 1 GiB) with its guest-physical block.
func (s *slotSet) create(size uint64, used uint64, flags uint32, host uintptr) (id uint32, gpa uint64, err error) {
	order := uint(bits.TrailingZeros64(size))
	id, ok := s.takeID()
	if !ok {
		return 0, 0, errNoSlots
	}
	if gpa, ok = s.gpas.alloc(order); !ok {
		s.ids = append(s.ids, id)
		return 0, 0, errNoSlots
	}
	if err = s.kvm.SetMemory(id, flags, gpa, used, host); err != nil {
		s.gpas.release(gpa, order)
		s.ids = append(s.ids, id)
		return 0, 0, fmt.Errorf("memory: %w", err)
	}
	return id, gpa, nil
}

// private makes a slot for host memory that is not at Window+gva.
func (s *slotSet) private(host uintptr, used uint64, flags uint32) (gpa uint64, err error) {
	size := max(uint64(1)<<bits.Len64(used-1), 1<<minOrder)
	_, gpa, err = s.create(size, used, flags, host)
	return gpa, err
}

// add makes the slot for the chunk at gva.
func (s *slotSet) add(gva, size uint64) (*slot, error) {
	id, gpa, err := s.create(size, size, 0, uintptr(s.window+gva))
	if err != nil {
		return nil, err
	}
	x := &slot{gva: gva, size: size, gpa: gpa, id: id}
	s.byAddr = slices.Insert(s.byAddr, s.index(gva), x)
	s.bytes += size
	return x, nil
}

// drop deletes slots, for which no page-table entry is left.
func (s *slotSet) drop(gone func(*slot) bool) (n int, err error) {
	s.byAddr = slices.DeleteFunc(s.byAddr, func(x *slot) bool {
		if err != nil || !gone(x) {
			return false
		}
		if err = s.kvm.SetMemory(x.id, 0, x.gpa, 0, 0); err != nil {
			return false
		}
		s.deletions++
		s.ids = append(s.ids, x.id)
		s.gpas.release(x.gpa, uint(bits.TrailingZeros64(x.size)))
		s.bytes -= x.size
		n++
		return true
	})
	return n, err
}

// forget makes KVM drop every shadow page, by making a slot and deleting it.
func (s *slotSet) forget(host uintptr) error {
	id, gpa, err := s.create(largePage, pageSize, 0, host)
	if err != nil {
		return err
	}
	err = s.kvm.SetMemory(id, 0, gpa, 0, 0)
	s.gpas.release(gpa, minOrder)
	s.ids = append(s.ids, id)
	if err == nil {
		s.deletions++
	}
	return err
}

// Sizes of slots.
const (
	firstSlotSize = 16 << 20 // costs 15 µs, 2 MiB 12
	maxSlotSize   = 1 << 30
)

// chunkFor chooses the chunk for gva within a VMA [start, end): large VMAs get large chunks at once, and a chunk next to
// another is twice its size, so that a growing heap needs few.
func (s *slotSet) chunkFor(gva, start, end uint64) (uint64, uint64) {
	size := uint64(firstSlotSize)
	for size < maxSlotSize/16 && size*4 <= end-start {
		size *= 2
	}
	i := s.index(gva)
	lo, hi := uint64(0), ^uint64(0)
	if i > 0 {
		lo = s.byAddr[i-1].end()
	}
	if i < len(s.byAddr) {
		hi = s.byAddr[i].gva
	}
	if i > 0 && lo == alignDown(gva, firstSlotSize) {
		size = max(size, 2*s.byAddr[i-1].size)
	}
	if i < len(s.byAddr) && hi == alignDown(gva, firstSlotSize)+firstSlotSize {
		size = max(size, 2*s.byAddr[i].size)
	}
	size = min(size, maxSlotSize)
	for ; size > firstSlotSize; size /= 2 {
		if base := alignDown(gva, size); base >= lo && base+size <= hi {
			break
		}
	}
	return alignDown(gva, size), size
}
