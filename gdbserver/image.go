package gdbserver

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// ELF constants (elf(5)). debug/elf would link DWARF into every kmdev run.
const (
	elfMagic  = "\x7fELF"
	ehdrSize  = 64
	ehdrPhoff = 32
	ehdrPhnum = 56
	phdrSize  = 56

	ptDynamic = 2
	ptInterp  = 3
	ptPhdr    = 6
	ptTLS     = 7

	dtNull  = 0
	dtDebug = 21
)

// segment is a program header of an ELF image in payload memory.
type segment struct {
	typ                         uint32
	vaddr, filesz, memsz, align uint64
}

// maxSegments bounds what a payload can make us read: ELF has at most 65,534, real programs a dozen.
const maxSegments = 512

func (s *session) word(addr uint64) (uint64, error) {
	var p [8]byte
	_, err := s.proc.ReadMemory(addr, p[:])
	return binary.LittleEndian.Uint64(p[:]), err
}

// text reads a NUL-terminated string of the payload, cut at max bytes.
func (s *session) text(addr uint64, max int) (string, error) {
	p := make([]byte, max)
	n, err := s.proc.ReadMemory(addr, p)
	if i := bytes.IndexByte(p[:n], 0); i >= 0 {
		return string(p[:i]), nil
	}
	return string(p[:n]), err
}

// Entries of the auxiliary vector (getauxval(3)).
const (
	atPhdr  = 3
	atPhent = 4
	atPhnum = 5
	atEntry = 9
)

// auxvEntry looks an entry up.
func auxvEntry(auxv []byte, typ uint64) (uint64, bool) {
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		if binary.LittleEndian.Uint64(auxv) == typ {
			return binary.LittleEndian.Uint64(auxv[8:]), true
		}
	}
	return 0, false
}

var errNoImage = errors.New("the program's ELF headers can't be found in memory")

// program gives the program's segments and the distance between their addresses and where they are.
func (s *session) program() (segments []segment, bias uint64, err error) {
	auxv, err := s.proc.Auxv()
	if err != nil {
		return nil, 0, err
	}
	phdr, ok1 := auxvEntry(auxv, atPhdr)
	num, ok2 := auxvEntry(auxv, atPhnum)
	if !ok1 || !ok2 || num > maxSegments {
		return nil, 0, errNoImage
	}
	if segments, err = s.segments(phdr, int(num)); err != nil {
		return nil, 0, err
	}
	for _, g := range segments {
		if g.typ == ptPhdr {
			return segments, phdr - g.vaddr, nil
		}
	}
	// Without PT_PHDR (some static programs) the program is where it was linked to be.
	return segments, 0, nil
}

// image gives the segments of an object whose ELF header is at base in memory, as ld.so maps them.
func (s *session) image(base uint64) ([]segment, error) {
	var h [ehdrSize]byte
	if _, err := s.proc.ReadMemory(base, h[:]); err != nil {
		return nil, err
	}
	num := binary.LittleEndian.Uint16(h[ehdrPhnum:])
	if string(h[:4]) != elfMagic || num > maxSegments {
		return nil, errNoImage
	}
	return s.segments(base+binary.LittleEndian.Uint64(h[ehdrPhoff:]), int(num))
}

func (s *session) segments(addr uint64, n int) ([]segment, error) {
	p := make([]byte, n*phdrSize)
	if _, err := s.proc.ReadMemory(addr, p); err != nil {
		return nil, err
	}
	out := make([]segment, n)
	for i := range out {
		h := p[i*phdrSize:]
		out[i] = segment{
			typ:    binary.LittleEndian.Uint32(h),
			vaddr:  binary.LittleEndian.Uint64(h[16:]),
			filesz: binary.LittleEndian.Uint64(h[32:]),
			memsz:  binary.LittleEndian.Uint64(h[40:]),
			align:  binary.LittleEndian.Uint64(h[48:]),
		}
	}
	return out, nil
}

func find(segments []segment, typ uint32) *segment {
	for i := range segments {
		if segments[i].typ == typ {
			return &segments[i]
		}
	}
	return nil
}
