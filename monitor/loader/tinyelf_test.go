package loader

// elfFile makes small ELF files: headers at the start, then whatever the segments say is there.
type elfFile struct {
	typ, machine, phentsize uint16
	entry, phoff            uint64
	phdrs                   []phdr
	size                    int
	patches                 []patch
}

type patch struct {
	off  int
	data []byte
}

// exitCode is exit_group(0).
var exitCode = []byte{0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05}

// tinyELF is a static program at 0x400000 with one segment, three pages long.
func tinyELF() *elfFile {
	e := &elfFile{typ: etExec, machine: emX86_64, phentsize: phdrSize, entry: 0x401000, phoff: ehdrSize, size: 3 * pageSize}
	e.load(0x400000, 0, 0x1009, 0x1009, pfR|pfX)
	e.put(0x1000, exitCode)
	return e
}

func (e *elfFile) put(off int, data []byte) { e.patches = append(e.patches, patch{off, data}) }

func (e *elfFile) load(vaddr, off, filesz, memsz uint64, flags uint32) {
	e.phdrs = append(e.phdrs, phdr{typ: ptLoad, flags: flags, off: off, vaddr: vaddr, filesz: filesz, memsz: memsz, alignTo: pageSize})
}

// interp adds a PT_INTERP; name is stored as it is.
func (e *elfFile) interp(name string) {
	e.phdrs = append(e.phdrs, phdr{typ: ptInterp, flags: pfR, off: 0x1100, vaddr: 0x401100, filesz: uint64(len(name)), memsz: uint64(len(name)), alignTo: 1})
	e.put(0x1100, []byte(name))
}

func (e *elfFile) bytes() []byte {
	b := make([]byte, e.size)
	for i := range b[ehdrSize:] {
		b[ehdrSize+i] = byte(i%251) + 1 // not zero, so that clearing shows
	}
	copy(b, "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le.PutUint16(b[16:], e.typ)
	le.PutUint16(b[18:], e.machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], e.entry)
	le.PutUint64(b[32:], e.phoff)
	le.PutUint16(b[52:], ehdrSize)
	le.PutUint16(b[54:], e.phentsize)
	le.PutUint16(b[56:], uint16(len(e.phdrs)))
	for i, p := range e.phdrs {
		at := int(e.phoff) + i*phdrSize
		if at < 0 || at+phdrSize > len(b) {
			break
		}
		h := b[at:]
		le.PutUint32(h, p.typ)
		le.PutUint32(h[4:], p.flags)
		for j, v := range []uint64{p.off, p.vaddr, p.vaddr, p.filesz, p.memsz, p.alignTo} {
			le.PutUint64(h[8+8*j:], v)
		}
	}
	for _, p := range e.patches {
		copy(b[min(p.off, len(b)):], p.data)
	}
	return b
}
