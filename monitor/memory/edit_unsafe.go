package memory

import (
	"unsafe"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// disarm removes the entries of [start, end). The caller changes the host mapping next.
func (as *AddressSpace) disarm(start, end uint64) {
	as.tables.clear(start, end)
	as.ahead.release(start, end)
}

// install makes entries for [start, end), which lies within v, and the slots they need.
func (as *AddressSpace) install(v *VMA, start, end uint64) error {
	bits := leafBits(v.Prot)
	if bits == 0 || start >= end {
		return nil
	}
	if v.hostBacked() {
		if err := as.hostSlot(v); err != nil {
			return err
		}
		return as.tables.set(start, end, v.GPA+start-v.Start, bits)
	}
	for again := false; start < end; {
		s := as.slots.find(start)
		if s == nil {
			var err error
			if s, err = as.newSlot(start, v); err != nil {
				return err
			}
		}
		stop := min(end, s.end())
		err := as.tables.set(start, stop, s.gpa+start-s.gva, bits)
		if err == nil {
			start = stop
			continue
		}
		// Page tables need slots too.
		if again || as.evict() != nil {
			return err
		}
		again = true
	}
	return nil
}

// newSlot makes a slot for gva, if need be by deleting others.
func (as *AddressSpace) newSlot(gva uint64, v *VMA) (*slot, error) {
	base, size := as.slots.chunkFor(gva, v.Start, v.End)
	s, err := as.slots.add(base, size)
	if err != nil {
		if as.evict() != nil {
			return nil, err
		}
		s, err = as.slots.add(alignDown(gva, firstSlotSize), firstSlotSize)
	}
	if err == nil {
		as.stats.Slots = len(as.slots.byAddr)
	}
	return s, err
}

// firstReclaim is how many bytes of slots there may be before idle ones are looked for.
const firstReclaim = 1 << 30

// maxIdleSlots is how many slots there may be before idle ones are looked for.
const maxIdleSlots = 512

// idle tells whether no memory that can be accessed is left in s.
func (as *AddressSpace) idle(s *slot) bool {
	for v := range as.vmas.all(s.gva, s.end()) {
		if v.Prot&protAll != 0 {
			return false
		}
	}
	return true
}

// reclaim deletes idle slots when there are many. Deleting one makes KVM forget all shadow pages, so it is done for many
// at once, and next when what is left has doubled.
func (as *AddressSpace) reclaim() {
	if as.slots.bytes < as.reclaimAt && len(as.slots.byAddr) < as.reclaimSlots() {
		as.recycle()
		return
	}
	as.dropSlots(as.idle)
	as.reclaimAt = max(firstReclaim, 2*as.slots.bytes)
	as.reclaimCount = max(maxIdleSlots, 2*len(as.slots.byAddr))
}

func (as *AddressSpace) reclaimSlots() int { return max(as.reclaimCount, maxIdleSlots) }

// evict deletes slots so that more can be made: idle ones, or if there are none, half of all.
func (as *AddressSpace) evict() error {
	if as.dropSlots(as.idle) > 0 {
		return nil
	}
	i := as.stats.Evictions // not always the same half
	n := as.dropSlots(func(s *slot) bool {
		if i++; i%2 == 0 && len(as.slots.byAddr) > 1 {
			return false
		}
		as.tables.clear(s.gva, s.end())
		return true
	})
	as.stats.Evictions += uint64(n)
	if n == 0 {
		return errNoSlots
	}
	return nil
}

func (as *AddressSpace) dropSlots(gone func(*slot) bool) int {
	n, _ := as.slots.drop(gone)
	if n > 0 {
		as.tables.reuse()
	}
	as.stats.Slots = len(as.slots.byAddr)
	return n
}

// maxRetired is how many retired table pages there may be at least before KVM is made to forget them.
const maxRetired = 1024

// recycle makes retired table pages usable again once they outnumber those in use.
func (as *AddressSpace) recycle() {
	if n := len(as.tables.retired); n > maxRetired && n > as.tables.pool.inUse/2 {
		as.forget()
	}
}

// forget makes KVM drop every shadow page and TLB entry.
func (as *AddressSpace) forget() unix.Errno {
	root, _ := as.tables.pool.at(as.tables.root)
	if as.slots.forget(uintptr(unsafe.Pointer(root))) != nil {
		return unix.ENOMEM
	}
	as.stats.Forgets++
	as.tables.reuse()
	return 0
}

// inWindow tells whether the Go object at p is where payload memory goes.
func inWindow(p *AddressSpace) bool {
	a := uintptr(unsafe.Pointer(p))
	return a >= usermem.Window && a < usermem.Window+usermem.Size
}

// hostBytes is n bytes of the monitor's own memory at a.
func hostBytes(a, n uint64) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(a))), n) }
