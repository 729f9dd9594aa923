package memory

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// Transparent huge pages.
//
// Measured under PVM, per 4 KiB page of memory written for the first time: 4.1 µs by KVM's fault on demand, 2.1 µs populated
// ahead by small pages (1.2 for the host's part), 0.2 µs populated ahead by huge pages with 2 MiB entries. So the 2 MiB
// blocks of a stream's window, which by then is no larger than what the stream has touched, are advised to be huge.
// A host mapping so advised would also get a huge page for a single touch after it has been discarded, and
// khugepaged would fill its holes: so a discard takes the advice back first.
//
// That holds if the host has huge pages at hand. Where it must compact memory first, or is a virtual machine itself whose
// memory has never been touched (then 10–15 µs), small pages are cheaper: what windows cost is measured as they are populated,
// and after a dear block small pages are used for a while, the longer the more often that has happened.

// thpMode is the host's setting for memory without advice.
type thpMode uint8

const (
	thpUnknown thpMode = iota
	thpNever
	thpAdvised // only where advised
	thpAlways
)

// thp gives the host's setting, read at first use. as.mu is held.
func (as *AddressSpace) thp() thpMode {
	if as.thpSetting == thpUnknown {
		as.thpSetting = hostTHP()
	}
	return as.thpSetting
}

func hostTHP() thpMode {
	const dir = "/sys/kernel/mm/transparent_hugepage/"
	b, err := os.ReadFile(dir + "hugepages-2048kB/enabled") // since Linux 6.8
	if err != nil || bytes.Contains(b, []byte("[inherit]")) {
		b, _ = os.ReadFile(dir + "enabled")
	}
	switch {
	case bytes.Contains(b, []byte("[always]")):
		return thpAlways
	case bytes.Contains(b, []byte("[madvise]")):
		return thpAdvised
	}
	return thpNever
}

// hugeBlock gives the 2 MiB block around page if the host will back it by a huge page at the first touch anyway: because the
// payload asked for it, or the host does so always.
func (as *AddressSpace) hugeBlock(v *VMA, page uint64) (start, end uint64, ok bool) {
	start = alignDown(page, largePage)
	end = start + largePage
	if start < v.Start || end > v.End || v.Flags&(NoHugePage|Shared) != 0 {
		return 0, 0, false
	}
	if v.Flags&HugePage == 0 && as.thp() != thpAlways {
		return 0, 0, false
	}
	return start, end, as.tables.firstPresent(start, end) == end
}

// hugeChoice decides between huge and small pages.
type hugeChoice struct {
	// What populating has cost, in nanoseconds of CPU time per 4 KiB; 0 if not known.
	smallCost uint64 // a mean of late
	hugeCost  uint64 // the last time

	pause uint64 // pages to be populated before huge pages are tried again
	dear  uint64 // how often in a row they have been found too dear
	clock uint64
}

const (
	// hugePays is how much dearer than a small page a huge one may be per 4 KiB: KVM maps 2 MiB in one fault then.
	hugePays = 2
	maxPause = 64 * largePage / pageSize
	// measurable is the smallest number of pages whose cost is taken note of: of fewer the call itself shows.
	measurable = 32
	// measureEvery is how many small windows there are to one that is measured, once the cost is known.
	measureEvery = 16
)

// windowLimit is how many pages the next window of a long stream may have: many if they become huge pages that pay; a block
// to try them, or over which an exit is well spread, if not.
func (c *hugeChoice) windowLimit() uint64 {
	if c.pause == 0 && c.hugeCost != 0 {
		return maxWindow
	}
	return largePage / pageSize
}

// small prepares for a window of small pages.
func (c *hugeChoice) small(w *window) {
	n := w.pages()
	c.pause -= min(c.pause, n)
	c.clock++
	w.measure = n >= measurable && (c.smallCost == 0 || n >= largePage/pageSize || c.clock%measureEvery == 0)
}

// measured takes note of what populating a window has cost.
func (c *hugeChoice) measured(w window, ns uint64) {
	perPage := max(ns/w.pages(), 1)
	switch {
	case w.huge:
		c.hugeCost = perPage
		c.judge()
	case c.smallCost == 0:
		c.smallCost = perPage
	default:
		c.smallCost = (c.smallCost + perPage) / 2
	}
}

// judge decides whether huge pages go on. The pause after a block that was too dear is as long as small pages take to
// cost what it has cost, and twice as long each time: so trying costs half as much again at worst.
func (c *hugeChoice) judge() {
	if c.smallCost == 0 || c.hugeCost <= hugePays*c.smallCost {
		c.dear = 0
		return
	}
	blocks := 2 * c.hugeCost / c.smallCost << min(c.dear, 6)
	c.dear++
	c.pause, c.hugeCost = min(blocks*(largePage/pageSize), maxPause), 0
}

// mayHuge tells whether memory is to become huge pages that the payload has not asked for. as.mu is held.
func (as *AddressSpace) mayHuge() bool {
	return as.huge.pause == 0 && as.thp() != thpNever && !thpDisabled()
}

// thpDisabled tells whether the payload wants no huge pages in its process, or only those it asks for (PR_SET_THP_DISABLE).
func thpDisabled() bool {
	n, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	return err == nil && n != 0
}

// adviseHuge makes the whole blocks of a window of private memory huge pages, if they pay; for shared memory the host has
// settings of its own. as.mu is held.
func (as *AddressSpace) adviseHuge(v *VMA, w *window) {
	start, end := alignUp(w.start, largePage), alignDown(w.end, largePage)
	if start < end && v.anonymous() && v.Flags&(HugePage|NoHugePage) == 0 && as.thp() != thpAlways && as.mayHuge() &&
		hostAdvise(start, end-start, unix.MADV_HUGEPAGE) == 0 {
		v.Advised, v.Huge, w.huge, w.measure = true, true, true, true
		as.stats.HugeBlocks += (end - start) / largePage
		return
	}
	as.huge.small(w)
}

// unadviseHuge takes our advice for v's memory back. What is left of it is that the host's mapping may be in pieces.
func (as *AddressSpace) unadviseHuge(v *VMA) {
	if v.Advised && v.Flags&HugePage == 0 {
		hostAdvise(v.Start, v.size(), unix.MADV_NOHUGEPAGE)
	}
	v.Huge = false
}
