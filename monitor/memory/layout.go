package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// layout is where things go, as on Linux (arch/x86/mm/mmap.c, fs/binfmt_elf.c): the stack at the top, mappings downwards
// below it, position-independent programs at two thirds of the space, the heap behind the program.
type layout struct {
	stackTop   uint64
	mmapTop    uint64 // mappings are placed downwards from here
	mmapBottom uint64 // and upwards from here if that fails
	brkStart   uint64
	brk        uint64
}

// Linux's random bits: mmap_base 28 (vm.mmap_rnd_bits), stack 22, heap 32 MiB or, for what has no fixed base, 1 GiB.
const (
	mmapRandPages  = 1 << 28
	stackRandPages = 1 << 22
	brkRandPages   = 1 << 13
	map32RandPages = 1 << 13
	minStackRoom   = 128 << 20
	maxStackRoom   = usermem.Size / 6 * 5
	// pieBase is ELF_ET_DYN_BASE of a native process, so that addresses look familiar.
	pieBase = 0x5555_5555_4000
)

func newLayout(c *Config) layout {
	as := AddressSpace{cfg: *c}
	top := uint64(usermem.Size - pageSize)
	l := layout{stackTop: top - as.random(stackRandPages)}
	// The mmap base leaves the stack room to grow to its limit (mmap_base in arch/x86/mm/mmap.c).
	room := c.Limit(unix.RLIMIT_STACK)
	pad := uint64(stackGap)
	if !c.NoASLR {
		pad += stackRandPages * pageSize
	}
	if room+pad > room {
		room += pad
	}
	room = min(max(room, minStackRoom), maxStackRoom)
	rnd := as.random(mmapRandPages)
	if room+rnd > maxStackRoom {
		rnd = 0
	}
	l.mmapTop = pageDown(top - room - rnd)
	l.mmapBottom = pageUp(usermem.Size/3 + rnd)
	return l
}

// PIEBase chooses where a position-independent program goes (ELF_ET_DYN_BASE, randomised).
func (as *AddressSpace) PIEBase() uint64 { return pieBase + as.random(mmapRandPages) }

// Linux maps 128 KiB of stack below what execve wrote (setup_arg_pages); the first pages of it are used at once.
const (
	stackExpand = 128 << 10
	stackFirst  = 3 * pageSize
)

// MapStack maps the main stack and gives the address of its end, which is where the loader starts to lay out argv
// downwards: size bytes for that and a little more; it grows down to RLIMIT_STACK. exec makes it executable
// (PT_GNU_STACK).
func (as *AddressSpace) MapStack(size uint64, exec bool) (top uint64, e unix.Errno) {
	size = pageUp(size)
	m := &mapping{length: size + stackExpand, fd: noFD, hostFlags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN}
	m.v = VMA{Prot: protRead | protWrite, Flags: GrowsDown}
	if exec {
		m.v.Prot |= protExec
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	top = as.layout.stackTop
	if _, e = as.mapAt(m, top-m.length, unix.MAP_FIXED_NOREPLACE|unix.MAP_FIXED, pageSize); e != 0 {
		return 0, e
	}
	if first := min(size+stackFirst, m.length); first <= stackExpand {
		as.populate(top-first, first, true)
		if as.install(as.vmas.find(top-first), top-first, top) == nil {
			n := first / pageSize
			as.ahead.streams = append(as.ahead.streams, stream{edge: top - first, down: true, touched: n})
		}
	}
	return top, 0
}

// StackTop is the end of the main stack's VMA.
func (as *AddressSpace) StackTop() uint64 { return as.layout.stackTop }

// MmapBase is where mappings without a hint are placed downwards from.
func (as *AddressSpace) MmapBase() uint64 { return as.layout.mmapTop }

// FreeArea gives an address, a multiple of align, where size bytes could be mapped without a hint; 0 if there is none.
func (as *AddressSpace) FreeArea(size, align uint64) uint64 {
	as.mu.Lock()
	defer as.mu.Unlock()
	a, ok := as.vmas.gapDown(pageSize, as.layout.mmapTop, pageUp(size), max(align, pageSize))
	if !ok || as.tooLow(a) {
		return 0
	}
	return a
}

// place chooses the address of a new mapping (get_unmapped_area).
func (as *AddressSpace) place(m *mapping, hint, flags, align uint64) (uint64, unix.Errno) {
	if flags&placed != 0 {
		if hint > usermem.Size-m.length {
			return 0, unix.ENOMEM
		}
		if hint&(align-1) != 0 {
			return 0, unix.EINVAL
		}
		return hint, 0
	}
	if hint = pageDown(hint); hint != 0 && hint < lowAddr && hint < as.minAddr() {
		hint = pageUp(as.minAddr())
	}
	lo, hi, up := uint64(pageSize), as.layout.mmapTop, false
	if flags&unix.MAP_32BIT != 0 {
		lo, hi, up = 0x4000_0000+as.random(map32RandPages), 0x8000_0000, true
	} else if flags&mapAbove4G != 0 {
		lo = 4 << 30
	}
	if hint != 0 && flags&unix.MAP_32BIT == 0 || hint != 0 && hint+m.length <= hi {
		at := alignUp(hint, align)
		if at <= usermem.Size-m.length && as.free(at, m.length) {
			return at, 0
		}
	}
	if hint == 0 && align == pageSize && m.v.anonymous() && m.length%largePage == 0 && !up {
		// thp_get_unmapped_area: aligned, but only where there is room to spare.
		if a, ok := as.vmas.gapDown(lo, hi, m.length+largePage, pageSize); ok {
			return alignDown(a+largePage, largePage), 0
		}
	}
	if up {
		if a, ok := as.vmas.gapUp(lo, hi, m.length, align); ok {
			return a, 0
		}
		return 0, unix.ENOMEM
	}
	if a, ok := as.vmas.gapDown(lo, hi, m.length, align); ok {
		return a, 0
	}
	if a, ok := as.vmas.gapUp(as.layout.mmapBottom, usermem.Size, m.length, align); ok {
		return a, 0
	}
	return 0, unix.ENOMEM
}

// tooLow tells whether addr may not be mapped: below vm.mmap_min_addr only who has CAP_SYS_RAWIO may (cap_mmap_addr).
func (as *AddressSpace) tooLow(addr uint64) bool {
	return addr < lowAddr && addr < as.minAddr() && !hasCapability(capSysRawIO)
}

// free tells whether [addr, addr+length) may be used for a hint: no VMA, and no guard gap of one.
func (as *AddressSpace) free(addr, length uint64) bool {
	v := as.vmas.at(as.vmas.seek(addr))
	return v == nil || addr+length <= v.startGap()
}
