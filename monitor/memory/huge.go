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

// adviseHuge makes the whole blocks of a window huge pages. as.mu is held.
func (as *AddressSpace) adviseHuge(v *VMA, w window) {
	start, end := alignUp(w.start, largePage), alignDown(w.end, largePage)
	if start >= end || v.Flags&(HugePage|NoHugePage) != 0 || as.thp() == thpAlways {
		return
	}
	if hostAdvise(start, end-start, unix.MADV_HUGEPAGE) == 0 {
		v.Advised = true
		as.stats.HugeBlocks += (end - start) / largePage
	}
}

// unadviseHuge takes our advice for v's memory back.
func (as *AddressSpace) unadviseHuge(v *VMA) {
	if v.Advised && v.Flags&HugePage == 0 {
		hostAdvise(v.Start, v.size(), unix.MADV_NOHUGEPAGE)
	}
	v.Advised = false
}
