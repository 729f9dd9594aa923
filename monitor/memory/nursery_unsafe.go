package memory

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// nursery is memory of the monitor's, outside the window, from which a growing heap gets its pages. A heap ends anywhere
// within a 2 MiB block, and neither the payload nor a system call of its may reach what lies beyond; so a block's huge page
// is made here, and its pages move into the window as the heap grows. Moving 33 of them costs 5.5 µs and their share of the
// huge page 6 µs; populating 33 small ones costs 50 µs.
//
// The nursery's address for each payload address differs by a constant for as long as possible, and pages are moved out
// without unmapping it: so the host merges what has been moved into one mapping.
type nursery struct {
	region        []byte
	base          uint64 // host address in it, a multiple of 2 MiB, that stands for payload address origin
	origin, limit uint64 // payload addresses
	next, end     uint64 // payload addresses of what is populated and has not been moved yet; a part of one block
}

// nurserySize is how many bytes of payload addresses a nursery stands for: that many have one mapping on the host.
const nurserySize = 32 << 20

// at gives the host address that stands for a payload address.
func (n *nursery) at(gva uint64) uint64 { return n.base + gva - n.origin }

// has tells whether the page at gva is the next to be moved.
func (n *nursery) has(gva uint64) bool { return gva == n.next && n.next < n.end }

// empty gives back what has not been moved.
func (n *nursery) empty() {
	if n.next < n.end {
		unix.Syscall(unix.SYS_MADVISE, uintptr(n.at(n.next)), uintptr(n.end-n.next), unix.MADV_DONTNEED)
	}
	n.next, n.end = 0, 0
}

func (n *nursery) close() {
	if n.region != nil {
		unix.Munmap(n.region)
	}
	*n = nursery{}
}

// cover makes the nursery stand for the 2 MiB block at gva.
func (n *nursery) cover(gva uint64) bool {
	if n.region != nil && gva >= n.origin && gva < n.limit {
		return true
	}
	n.close()
	region, err := unix.Mmap(-1, 0, nurserySize+largePage, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	base := alignUp(uint64(uintptr(unsafe.Pointer(&region[0]))), largePage)
	*n = nursery{region: region, base: base, origin: gva, limit: gva + nurserySize}
	if _, _, e := unix.Syscall(unix.SYS_MADVISE, uintptr(base), nurserySize, unix.MADV_HUGEPAGE); e != 0 {
		n.close()
		return false
	}
	return true
}

// fill populates the block at gva, and gives what that has cost in nanoseconds of CPU time.
func (n *nursery) fill(gva uint64) (spent uint64, ok bool) {
	n.empty()
	if !n.cover(gva) {
		return 0, false
	}
	before := threadTime()
	_, _, e := unix.Syscall(unix.SYS_MADVISE, uintptr(n.at(gva)), largePage, unix.MADV_POPULATE_WRITE)
	if e != 0 {
		return 0, false
	}
	n.next, n.end = gva, gva+largePage
	return threadTime() - before, true
}

// move puts the next pages, those of [start, end), into the window, where nothing is.
func (n *nursery) move(start, end uint64) bool {
	_, _, e := unix.Syscall6(unix.SYS_MREMAP, uintptr(n.at(start)), uintptr(end-start), uintptr(end-start),
		unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED|unix.MREMAP_DONTUNMAP, host(start), 0)
	if e != 0 { // before Linux 5.7, or the host's limits are reached
		n.empty()
		return false
	}
	n.next = end
	return true
}

// adopt maps v, by which the heap grows, with pages that are there already, if it can. as.mu is held.
func (as *AddressSpace) adopt(v *VMA) bool {
	if as.cfg.NoAhead || v.Flags != 0 {
		return false
	}
	s := as.ahead.at(v.Start)
	if s == nil || !as.nursery.has(v.Start) && !as.raise(s, v) || !as.nursery.move(v.Start, v.End) {
		return false
	}
	w := *v
	w.Advised, w.Huge = true, true
	as.replace(v.Start, v.End, &w)
	s.edge = v.End
	as.armAwaited(as.vmas.find(v.Start), s, v.Start, v.End)
	return true
}

// raise fills the nursery for the block that v starts, if the stream is so long that what it holds in vain is no more than
// it has touched.
func (as *AddressSpace) raise(s *stream, v *VMA) bool {
	if v.Start%largePage != 0 || v.size() >= largePage {
		return false
	}
	as.settle(s)
	if s.allowance() < largePage/pageSize || !as.mayHuge() {
		return false
	}
	if heap := as.vmas.find(v.Start - pageSize); heap == nil || heap.Flags&(HugePage|NoHugePage) != 0 {
		return false
	}
	spent, ok := as.nursery.fill(v.Start)
	if !ok {
		return false
	}
	as.stats.HugeBlocks++
	as.stats.Ahead += largePage / pageSize
	as.huge.measured(window{start: v.Start, end: v.Start + largePage, huge: true}, max(spent, 1))
	return true
}

// held is how many pages are populated and have not been moved.
func (n *nursery) held() uint64 { return (n.end - n.next) / pageSize }
