package loader

import "golang.org/x/sys/unix"

// segment is what Linux's elf_load does for one PT_LOAD, with addresses as linked (before the load bias).
type segment struct {
	addr    uint64 // page of the first byte
	fileLen uint64 // bytes to map from the file at addr; whole pages, 0 for none
	off     int64  // file offset of addr
	prot    int

	zeroAddr uint64 // bytes to clear: the rest of the last file page, if the segment is writable
	zeroLen  uint64

	bssAddr uint64 // anonymous pages after the file's
	bssLen  uint64
	bssProt int
}

// layout is a whole image: its segments in file order, and what follows from all of them together.
type layout struct {
	segs  []segment
	low   uint64 // lowest page
	high  uint64 // end of the highest segment, not rounded
	align uint64 // largest p_align that is a power of two; at least a page

	startCode, endCode, startData, endData uint64 // as in /proc/PID/stat
	phdrAddr                               uint64 // address of the program headers, 0 if no segment holds them
}

func (l *layout) span() uint64 { return pageUp(l.high) - l.low }

// plan lays out the loadable headers of an image. fileSize bounds what can be mapped.
func plan(h header, phdrs []phdr, fileSize int64) (*layout, *fault) {
	l := &layout{low: taskSize, align: pageSize, startCode: ^uint64(0)}
	var loads []phdr
	for i := range phdrs {
		p := &phdrs[i]
		if p.typ != ptLoad {
			continue
		}
		if f := checkLoad(p, fileSize); f != nil {
			return nil, f
		}
		loads = append(loads, *p)
		l.segs = append(l.segs, makeSegment(p))
		l.include(h, p)
	}
	if len(loads) == 0 {
		return nil, fatalf(unix.EINVAL, "has no loadable segment (PT_LOAD), so nothing to run; it may hold debug symbols only, or be damaged")
	}
	if a, b := firstOverlap(loads); a != nil {
		return nil, fatalf(unix.EINVAL, "has segments that overlap: %#x+%#x and %#x+%#x; link it again", a.vaddr, a.memsz, b.vaddr, b.memsz)
	}
	if l.align > taskSize/2 {
		return nil, fatalf(unix.ENOMEM, "asks for an alignment of %#x bytes, more than the address space has; link it again", l.align)
	}
	return l, nil
}

// checkLoad refuses a PT_LOAD that Linux cannot map. After it, no sum of the header's fields overflows.
func checkLoad(p *phdr, fileSize int64) *fault {
	switch {
	case p.filesz > p.memsz:
		return fatalf(unix.EINVAL, "has a segment at %#x with more bytes in the file (%#x) than in memory (%#x); link it again", p.vaddr, p.filesz, p.memsz)
	case p.vaddr >= taskSize || p.memsz > taskSize-p.vaddr:
		return fatalf(unix.EINVAL, "has a segment at %#x of %#x bytes, outside the address space (%#x bytes); link it lower", p.vaddr, p.memsz, uint64(taskSize))
	case p.filesz == 0:
		return nil
	case pageOff(p.off) != pageOff(p.vaddr):
		return fatalf(unix.EINVAL, "has a segment at %#x from file offset %#x: they must be equal modulo the page size; link it again", p.vaddr, p.off)
	}
	end := pageUp(uint64(fileSize))
	if p.off >= end || p.filesz > end-p.off {
		return fatalf(unix.ENOEXEC, "is truncated: a segment needs %#x bytes from file offset %#x, but the file has %#x; copy or build it again", p.filesz, p.off, fileSize)
	}
	return nil
}

func makeSegment(p *phdr) segment {
	s := segment{addr: pageDown(p.vaddr), prot: p.prot()}
	end := p.vaddr + p.memsz
	bss := s.addr
	if p.filesz != 0 {
		fileEnd := p.vaddr + p.filesz
		s.off = int64(pageDown(p.off))
		s.fileLen = pageUp(fileEnd) - s.addr
		bss = pageUp(fileEnd)
		if p.memsz > p.filesz && s.prot&unix.PROT_WRITE != 0 {
			s.zeroAddr, s.zeroLen = fileEnd, bss-fileEnd
		}
	}
	if p.memsz > p.filesz && pageUp(end) > bss {
		// vm_brk_flags: readable and writable whatever p_flags says, executable if it says so.
		s.bssAddr, s.bssLen = bss, pageUp(end)-bss
		s.bssProt = unix.PROT_READ | unix.PROT_WRITE | s.prot&unix.PROT_EXEC
	}
	return s
}

// include widens the image's bounds by one header.
func (l *layout) include(h header, p *phdr) {
	l.low = min(l.low, pageDown(p.vaddr))
	l.high = max(l.high, p.vaddr+p.memsz)
	if a := p.alignTo; a&(a-1) == 0 {
		l.align = max(l.align, a)
	}
	if p.off <= h.phoff && h.phoff-p.off < p.filesz {
		l.phdrAddr = h.phoff - p.off + p.vaddr
	}
	if p.flags&pfX != 0 {
		l.startCode = min(l.startCode, p.vaddr)
		l.endCode = max(l.endCode, p.vaddr+p.filesz)
	}
	l.startData = max(l.startData, p.vaddr)
	l.endData = max(l.endData, p.vaddr+p.filesz)
}
