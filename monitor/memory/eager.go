package memory

import "golang.org/x/sys/unix"

// populateWindow populates a window unless mappings have changed since it was chosen: then it is left to KVM.
func (as *AddressSpace) populateWindow(w window) {
	if w.end-w.start <= pageSize || as.generation.Load() != w.generation {
		return
	}
	hostAdvise(w.start, w.end-w.start, unix.MADV_POPULATE_WRITE)
}

// populate is what MAP_POPULATE and mlock do: bring all of [start, start+length) in, errors ignored.
func (as *AddressSpace) populate(start, length uint64, write bool) {
	advice := uint64(unix.MADV_POPULATE_READ)
	if write {
		advice = unix.MADV_POPULATE_WRITE
	}
	hostAdvise(start, length, advice)
}

// Sizes in bytes up to which entries are made when memory is mapped instead of when it is touched.
const (
	eagerAnon = 4 * pageSize
	eagerFile = 4 << 20
)

// eager does at mmap time what would cost an exit later. as.mu is held.
func (as *AddressSpace) eager(v *VMA, start, end uint64) {
	if v == nil || v.Prot&protAll == 0 || v.Page != 0 {
		return
	}
	switch {
	case v.Flags&(Locked|LockOnFault) == Locked:
	case v.Flags&File != 0:
		end = min(end, v.extent())
		if end < start || end-start > eagerFile {
			return
		}
		if v.Flags&Shared == 0 {
			hostAdvise(start, end-start, unix.MADV_POPULATE_READ)
		}
	case end-start > eagerAnon || v.Flags&Shared != 0:
		return
	}
	if as.install(v, start, end) != nil {
		as.disarm(start, end)
	}
}

// eagerProtect is eager for memory that has got a new protection.
func (as *AddressSpace) eagerProtect(v *VMA) {
	if v.Flags&File != 0 && v.size() <= eagerFile {
		as.eager(v, v.Start, v.End)
	}
}
