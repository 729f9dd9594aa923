package loader

import (
	"encoding/binary"
	"sort"

	"golang.org/x/sys/unix"
)

// Sizes and numbers of ELF64, from the System V ABI and elf(5).
const (
	ehdrSize = 64
	phdrSize = 56
	// maxPhdrBytes is Linux's limit for the program header table (load_elf_phdrs).
	maxPhdrBytes = 65536

	etExec = 2
	etDyn  = 3

	ptLoad     = 1
	ptInterp   = 3
	ptGNUStack = 0x6474e551

	pfX = 1
	pfW = 2
	pfR = 4

	emX86_64 = 62

	identClass = 4 // index in e_ident
	identData  = 5
	class32    = 1
	dataBig    = 2

	maxInterp = unix.PathMax
)

var le = binary.LittleEndian

// header is what the loader needs of Elf64_Ehdr.
type header struct {
	typ, phnum   uint16
	entry, phoff uint64
}

// isELF is Linux's first test: the four magic bytes, and nothing else of e_ident.
func isELF(head []byte) bool { return len(head) >= 4 && string(head[:4]) == "\x7fELF" }

// parseHeader accepts what Linux accepts (but for e_type: see checkType). It does not look at class, byte order, version or ABI in e_ident: a file
// with the right machine, type and program header size is loaded whatever stands there.
func parseHeader(head []byte) (header, *fault) {
	if len(head) < ehdrSize {
		return header{}, faultf(unix.ENOEXEC, "is a truncated ELF file: %d bytes, less than its header; copy or build it again", len(head))
	}
	h := header{
		typ: le.Uint16(head[16:]), phnum: le.Uint16(head[56:]),
		entry: le.Uint64(head[24:]), phoff: le.Uint64(head[32:]),
	}
	machine, phentsize := le.Uint16(head[18:]), le.Uint16(head[54:])
	switch {
	case machine != emX86_64:
		return h, faultf(unix.ENOEXEC, "%s", foreign(head))
	case phentsize != phdrSize && head[identClass] == class32:
		return h, faultf(unix.ENOEXEC, "is an x32 program (32-bit pointers); kmdev runs 64-bit programs: rebuild it with -m64")
	case phentsize != phdrSize:
		return h, faultf(unix.ENOEXEC, "has program headers of %d bytes instead of %d: the ELF file is damaged; build it again", phentsize, phdrSize)
	case h.phnum == 0:
		return h, faultf(unix.ENOEXEC, "has no program headers, so nothing to run; is it an object file or a damaged program?")
	case int(h.phnum)*phdrSize > maxPhdrBytes:
		return h, faultf(unix.ENOEXEC, "has %d program headers; Linux accepts at most %d", h.phnum, maxPhdrBytes/phdrSize)
	}
	return h, nil
}

// checkType refuses what is not a program. Linux looks at an ELF interpreter's type only after the point of no return.
func (h *header) checkType() *fault {
	if h.typ != etExec && h.typ != etDyn {
		return faultf(unix.ENOEXEC, "%s", notProgram(h.typ))
	}
	return nil
}

// phdr is Elf64_Phdr without p_paddr.
type phdr struct {
	typ, flags                         uint32
	off, vaddr, filesz, memsz, alignTo uint64
}

func parsePhdrs(table []byte) []phdr {
	out := make([]phdr, len(table)/phdrSize)
	for i := range out {
		b := table[i*phdrSize:]
		out[i] = phdr{
			typ: le.Uint32(b), flags: le.Uint32(b[4:]),
			off: le.Uint64(b[8:]), vaddr: le.Uint64(b[16:]),
			filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:]), alignTo: le.Uint64(b[48:]),
		}
	}
	return out
}

// prot is p_flags as mmap's protection.
func (p *phdr) prot() int {
	prot := 0
	if p.flags&pfR != 0 {
		prot |= unix.PROT_READ
	}
	if p.flags&pfW != 0 {
		prot |= unix.PROT_WRITE
	}
	if p.flags&pfX != 0 {
		prot |= unix.PROT_EXEC
	}
	return prot
}

// firstOverlap gives two loadable headers that claim the same byte.
func firstOverlap(loads []phdr) (a, b *phdr) {
	byAddr := make([]*phdr, 0, len(loads))
	for i := range loads {
		if loads[i].memsz != 0 {
			byAddr = append(byAddr, &loads[i])
		}
	}
	sort.Slice(byAddr, func(i, j int) bool { return byAddr[i].vaddr < byAddr[j].vaddr })
	for i := 1; i < len(byAddr); i++ {
		if prev := byAddr[i-1]; prev.vaddr+prev.memsz > byAddr[i].vaddr {
			return prev, byAddr[i]
		}
	}
	return nil, nil
}
