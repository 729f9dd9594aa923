package memory

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// Transparent huge pages.
//
// Measured under PVM, per 4 KiB page of memory written for the first time: 4.8–8.6 µs by KVM's fault on demand, 3.3 µs
// populated ahead by small pages (1.9 for the host's part), 0.2 µs populated ahead by huge pages with 2 MiB entries. So the
// 2 MiB blocks of a stream's window, which by then is no larger than what the stream has touched, are advised to be huge.
// A host mapping so advised would also get a huge page for a single touch after it has been discarded, and
// khugepaged would fill its holes: so a discard takes the advice back first.
//
// That holds if the host has huge pages at hand. Where it must compact memory first, or is a virtual machine itself whose
// memory has never been touched (then 11 µs), small pages are cheaper: what windows cost is measured as they are populated,
// and after a dear block small pages are used for a while, the longer the more often that has happened.

// thpMode is the host's setting for memory without advice.
type thpMode uint8

const (
	thpUnknown thpMode = iota
	thpAdvised         // only where advised, or never
	thpAlways
)

// thp gives the host's setting, read at first use. as.mu is held.
func (as *AddressSpace) thp() thpMode {
	if as.thpSetting == thpUnknown {
		as.thpSetting = thpAdvised
		b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
		if err == nil && bytes.Contains(b, []byte("[always]")) {
			as.thpSetting = thpAlways
		}
	}
	return as.thpSetting
}

// hugeBlock gives the 2 MiB block around page if the host will back it by a huge page at the first touch anyway: because the
// payload asked for it, or the host does so always.
func (as *AddressSpace) hugeBlock(v *VMA, page uint64) (start, end uint64, ok bool) {
	start = alignDown(page, largePage)
	end = start + largePage
	if start < v.Start || end > v.End || v.Flags&NoHugePage != 0 {
		return 0, 0, false
	}
	if v.Flags&HugePage == 0 && as.thp() != thpAlways {
		return 0, 0, false
	}
	return start, end, as.tables.firstPresent(start, end) == end
}

// hugeCost is what populating has cost of late, in nanoseconds of CPU time per 4 KiB, 0 if not known.
type hugeCost struct {
	small, huge uint64
	pause       uint64 // small windows still to come before huge pages are tried again
	backoff     uint64 // the last pause
}

const (
	// hugePays is how much dearer than a small page a huge one may be per 4 KiB: KVM maps 2 MiB in one fault then.
	hugePays   = 2
	maxBackoff = 64 // windows of 2 MiB
)

// windowLimit is how many pages the next window of a long stream may have: many if they become huge pages that pay; a block
// to try them, or over which an exit is well spread, if not.
func (c *hugeCost) windowLimit() uint64 {
	if c.pause == 0 && c.huge != 0 {
		return maxWindow
	}
	return largePage / pageSize
}

// measured takes note of what a window has cost.
func (c *hugeCost) measured(w window, ns uint64) {
	mean := &c.small
	if w.huge {
		mean = &c.huge
	}
	if perPage := ns * pageSize / (w.end - w.start); *mean == 0 {
		*mean = max(perPage, 1)
	} else {
		*mean = max((*mean+perPage)/2, 1)
	}
	switch {
	case !w.huge:
		c.pause -= min(c.pause, 1)
	case c.small != 0 && c.huge > hugePays*c.small:
		c.backoff = min(max(2*c.backoff, 4), maxBackoff)
		c.pause, c.huge = c.backoff, 0
	default:
		c.backoff = 0
	}
}

// adviseHuge makes the whole blocks of a window huge pages, if they pay. as.mu is held.
func (as *AddressSpace) adviseHuge(v *VMA, w *window) {
	start, end := alignUp(w.start, largePage), alignDown(w.end, largePage)
	if start >= end || as.huge.pause > 0 || v.Flags&(HugePage|NoHugePage) != 0 || as.thp() == thpAlways {
		return
	}
	if hostAdvise(start, end-start, unix.MADV_HUGEPAGE) == 0 {
		v.Advised, v.Huge, w.huge = true, true, true
		as.stats.HugeBlocks += (end - start) / largePage
	}
}

// unadviseHuge takes our advice for v's memory back. What is left of it is that the host's mapping may be in pieces.
func (as *AddressSpace) unadviseHuge(v *VMA) {
	if v.Advised && v.Flags&HugePage == 0 {
		hostAdvise(v.Start, v.size(), unix.MADV_NOHUGEPAGE)
	}
	v.Huge = false
}
