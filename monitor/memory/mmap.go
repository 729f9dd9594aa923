package memory

import (
	"strconv"
	"strings"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Flags of mmap(2) that package unix lacks.
const (
	mapDroppable = 0x08
	mapAbove4G   = 0x80
	hugeShift    = 26 // MAP_HUGE_SHIFT
	hugeMask     = 63
)

const noFD = ^uint64(0)

// placed are the flags that make the address no hint.
const placed = unix.MAP_FIXED | unix.MAP_FIXED_NOREPLACE

// mapping is a request to map something, with v's bounds yet to be found.
type mapping struct {
	v         VMA
	length    uint64
	fd, off   uint64
	hostFlags uint64
	populate  bool
	// refused is what Linux finds wrong with the kind of mapping; it looks at the address first.
	refused unix.Errno
}

// Mmap is mmap(2). The result is an address, or -errno in the kernel's convention.
func (as *AddressSpace) Mmap(addr, length, prot, flags, fd, off uint64) uint64 {
	m, align, e := as.request(length, prot, flags, fd, off)
	if e != 0 {
		return result(0, e)
	}
	as.mu.Lock()
	a, e := as.mapAt(m, addr, flags, align)
	if e == 0 && m.populate {
		v := as.vmas.find(a)
		as.install(v, a, min(a+m.length, v.extent())) // without it, faults do
	}
	as.mu.Unlock()
	if e == 0 && m.populate { // it may take long, so without the lock
		as.populate(a, m.length, m.v.Prot&protWrite != 0 && m.v.Flags&Shared == 0)
	}
	return result(a, e)
}

// request checks what needs no lock and collects what the VMA will be (ksys_mmap_pgoff, do_mmap).
func (as *AddressSpace) request(length, prot, flags, fd, off uint64) (*mapping, uint64, unix.Errno) {
	if off&pageMask != 0 {
		return nil, 0, unix.EINVAL
	}
	m := &mapping{length: length, fd: noFD}
	m.v.Prot = uint32(prot) & protAll
	align := uint64(pageSize)
	var e unix.Errno
	if flags&unix.MAP_ANONYMOUS == 0 {
		if align, e = m.file(fd, off, flags); e != 0 {
			return nil, 0, e
		}
	} else if flags&unix.MAP_HUGETLB != 0 {
		if align = hugePage(flags); align == 0 {
			return nil, 0, unix.EINVAL
		}
	}
	if align != pageSize {
		m.v.Flags |= HugeTLB
		m.v.Page = align
		m.length = alignUp(m.length, align)
	}
	if length == 0 {
		return nil, 0, unix.EINVAL
	}
	if m.length = pageUp(m.length); m.length < length || m.length == 0 {
		return nil, 0, unix.ENOMEM
	}
	if m.length > usermem.Size {
		return nil, 0, unix.ENOMEM
	}
	if m.refused == 0 {
		m.refused = m.kind(flags)
	}
	m.populate = flags&unix.MAP_POPULATE != 0 && flags&unix.MAP_NONBLOCK == 0
	m.hostFlags = flags &^ (unix.MAP_FIXED | unix.MAP_POPULATE | unix.MAP_NONBLOCK)
	return m, align, 0
}

// kind checks the mapping type and sets the flags it implies.
func (m *mapping) kind(flags uint64) unix.Errno {
	v := &m.v
	typ := flags & unix.MAP_TYPE
	switch {
	case typ == unix.MAP_PRIVATE:
	case typ == unix.MAP_SHARED, typ == unix.MAP_SHARED_VALIDATE && v.Flags&File != 0:
		v.Flags |= Shared
	case typ == mapDroppable && v.Flags&File == 0:
		v.Flags |= Droppable | WipeOnFork | DontDump | NoReserve
	default:
		return unix.EINVAL
	}
	if flags&unix.MAP_GROWSDOWN != 0 {
		if v.Flags&(Shared|File) != 0 {
			return unix.EINVAL
		}
		v.Flags |= GrowsDown
	}
	if flags&unix.MAP_NORESERVE != 0 {
		v.Flags |= NoReserve
	}
	if flags&unix.MAP_STACK != 0 {
		v.Flags |= NoHugePage
	}
	if flags&unix.MAP_LOCKED != 0 {
		v.Flags |= Locked
	}
	if v.Flags&File == 0 && v.Flags&Shared != 0 {
		// Linux backs it by a file of its own on an internal tmpfs.
		v.Flags |= File
		v.Name, v.Dev, v.Extent = "/dev/zero (deleted)", 1, ^uint64(pageMask)
	}
	return 0
}

// file fills in what fd is, and gives the page size its mappings are made of.
func (m *mapping) file(fd, off, flags uint64) (uint64, unix.Errno) {
	var st unix.Stat_t
	if unix.Fstat(int(int32(fd)), &st) != nil {
		return 0, unix.EBADF
	}
	v := &m.v
	v.Flags |= File
	v.Offset, v.Dev, v.Ino = off, st.Dev, st.Ino
	m.fd, m.off = uint64(uint32(fd)), off
	name, err := readlink("/proc/self/fd/" + strconv.Itoa(int(int32(fd))))
	if err == nil {
		v.Name = escape(name)
	}
	v.Extent = ^uint64(pageMask)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		v.Extent = pageUp(uint64(st.Size))
	}
	var fs unix.Statfs_t
	if unix.Fstatfs(int(int32(fd)), &fs) == nil {
		if fs.Flags&unix.ST_NOEXEC != 0 {
			if v.Prot&protExec != 0 {
				m.refused = unix.EPERM
			}
			v.Flags |= NoExec
		}
		if fs.Type == unix.HUGETLBFS_MAGIC {
			return uint64(fs.Bsize), 0
		}
	}
	if flags&unix.MAP_HUGETLB != 0 {
		return 0, unix.EINVAL
	}
	return pageSize, 0
}

func readlink(path string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink(path, buf[:])
	return string(buf[:max(n, 0)]), err
}

// escape is how seq_path writes a newline in /proc/PID/maps.
func escape(path string) string { return strings.ReplaceAll(path, "\n", `\012`) }

// hugePage gives the page size that MAP_HUGETLB's flags ask for, 2 MiB by default; 0 if the host has none of that size.
func hugePage(flags uint64) uint64 {
	size := uint64(largePage)
	if n := flags >> hugeShift & hugeMask; n != 0 {
		size = 1 << n
	}
	if unix.Access("/sys/kernel/mm/hugepages/hugepages-"+strconv.FormatUint(size/1024, 10)+"kB", unix.F_OK) != nil {
		return 0
	}
	return size
}

// mapAt finds the address and makes the mapping. as.mu is held.
func (as *AddressSpace) mapAt(m *mapping, hint, flags, align uint64) (uint64, unix.Errno) {
	v := &m.v
	if as.vmas.n >= as.maxMaps() {
		return 0, unix.ENOMEM
	}
	addr, e := as.place(m, hint, flags, align)
	if e != 0 {
		return 0, e
	}
	as.syncDown(addr, addr+m.length)
	if flags&placed == 0 && as.vmas.overlaps(addr, addr+m.length) {
		if addr, e = as.place(m, hint, flags, align); e != 0 {
			return 0, e
		}
	}
	end := addr + m.length
	if as.tooLow(addr) {
		return 0, unix.EPERM
	}
	if flags&unix.MAP_FIXED_NOREPLACE != 0 && as.vmas.overlaps(addr, end) {
		return 0, unix.EEXIST
	}
	if m.refused != 0 {
		return 0, m.refusal(addr)
	}
	if e := as.mayReplace(addr, end, v); e != 0 {
		return 0, e
	}
	v.Flags |= as.future
	v.Start, v.End = addr, end
	switch {
	case v.Flags&File == 0:
		v.Offset = addr
	case m.fd == noFD:
		as.object++
		v.Object = as.object
	}
	if v.Flags&Locked != 0 {
		m.hostFlags |= unix.MAP_LOCKED
	}
	if e := as.mapOver(m); e != 0 {
		return 0, e
	}
	if v.Flags&GrowsDown != 0 {
		as.growing++
	}
	w := m.v
	as.replace(addr, end, &w)
	as.eager(as.vmas.find(addr), addr, end)
	return addr, 0
}

// refusal gives the errno of a mapping whose kind is refused. Of a file Linux finds other faults first: the host is asked
// for it, where nothing is.
func (m *mapping) refusal(addr uint64) unix.Errno {
	if m.v.Flags&File == 0 || m.fd == noFD || m.length > 1<<40 {
		return m.refused
	}
	var at uintptr
	if m.hostFlags&unix.MAP_FIXED_NOREPLACE != 0 {
		at = host(addr)
	}
	a, _, e := unix.Syscall6(unix.SYS_MMAP, at, uintptr(m.length), uintptr(hostProt(m.v.Prot)),
		uintptr(m.hostFlags), uintptr(m.fd), uintptr(m.off))
	if e != 0 {
		return e
	}
	unix.Syscall(unix.SYS_MUNMAP, a, uintptr(m.length), 0)
	return m.refused
}

// mayReplace checks what MAP_FIXED would unmap, and the limits.
func (as *AddressSpace) mayReplace(start, end uint64, v *VMA) unix.Errno {
	var mapped uint64
	for old := range as.vmas.all(start, end) {
		if old.Flags&Sealed != 0 {
			return unix.EPERM
		}
		mapped += min(end, old.End) - max(start, old.Start)
	}
	if as.vmas.n+as.cuts(start, end) > as.maxMaps() {
		return unix.ENOMEM
	}
	if !as.mayExpand(v, end-start-mapped) {
		return unix.ENOMEM
	}
	return 0
}

// mapOver makes the host mapping of m.v, over whatever is there.
func (as *AddressSpace) mapOver(m *mapping) unix.Errno {
	v := &m.v
	over := as.vmas.overlaps(v.Start, v.End)
	if over {
		as.disarm(v.Start, v.End)
	}
	e := hostMap(v.Start, v.size(), v.Prot, m.hostFlags, m.fd, m.off)
	if over {
		as.changed()
		if e != 0 { // kernels before 6.12 unmap first
			as.dropUnmapped(v.Start, v.End)
		}
	}
	return e
}

// Munmap is munmap(2).
func (as *AddressSpace) Munmap(addr, length uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	return result(0, as.munmap(addr, length))
}

func (as *AddressSpace) munmap(addr, length uint64) unix.Errno {
	if addr&pageMask != 0 || addr > usermem.Size || length > usermem.Size-addr || pageUp(length) == 0 {
		return unix.EINVAL
	}
	end := addr + pageUp(length)
	as.syncDown(addr, end)
	if !as.vmas.overlaps(addr, end) {
		return 0
	}
	for v := range as.vmas.all(addr, end) {
		if v.Flags&Sealed != 0 {
			return unix.EPERM
		}
		if v.Page != 0 && (addr > v.Start && addr%v.Page != 0 || end < v.End && end%v.Page != 0) {
			return unix.EINVAL
		}
	}
	// Linux refuses a split at the limit, even if the other side goes away.
	if v := as.vmas.find(addr); v != nil && v.Start < addr && end < v.End && as.vmas.n >= as.maxMaps() {
		return unix.ENOMEM
	}
	return as.unmap(addr, end)
}

// unmap removes everything within [start, end).
func (as *AddressSpace) unmap(start, end uint64) unix.Errno {
	as.disarm(start, end)
	e := hostUnmap(start, end-start)
	as.changed()
	if e != 0 {
		return e
	}
	special := false
	for v := range as.vmas.all(start, end) {
		special = special || v.Flags&Special != 0
	}
	as.replace(start, end, nil)
	if special {
		as.forget()
	}
	as.reclaim()
	return 0
}
