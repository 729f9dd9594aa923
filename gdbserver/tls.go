package gdbserver

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// tlsAddress: qGetTLSAddr:THREAD,OFFSET,LINKMAP → the address of a thread-local variable. Without libthread_db: the
// program's own block lies where the psABI says, those of libraries are found through ld.so's link map. Link map 0 is
// the program, which gdb sends for static ones.
func tlsAddress(s *session, a *args) ([]byte, error) {
	a.want(":")
	id := a.threadID()
	a.want(",")
	offset := a.hex()
	a.want(",")
	lm := a.hex()
	if !a.done() {
		return nil, errSyntax
	}
	tid, err := s.thread(id)
	if err != nil {
		return nil, err
	}
	block, err := s.tlsBlock(tid, lm)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%x", block+offset), nil
}

func (s *session) tlsBlock(tid int, lm uint64) (uint64, error) {
	regs, err := s.proc.Registers(tid)
	if err != nil {
		return 0, err
	}
	if regs.FsBase == 0 {
		return 0, errorf("thread %d has no thread-local storage yet", tid)
	}
	isProgram, err := s.isProgramMap(lm)
	if err != nil {
		return 0, err
	}
	if isProgram {
		return s.programTLS(regs.FsBase)
	}
	return s.libraryTLS(regs.FsBase, lm)
}

// isProgramMap tells if a link map is the program's: the first of the first namespace.
func (s *session) isProgramMap(lm uint64) (bool, error) {
	if lm == 0 {
		return true, nil
	}
	debug, err := s.debugState()
	if err != nil || debug == 0 {
		return false, err
	}
	first, err := s.word(debug + rMap)
	return first == lm, err
}

// programTLS: the program's block ends at the thread pointer, but for its alignment (psABI, "Thread-Local Storage", variant II).
func (s *session) programTLS(tp uint64) (uint64, error) {
	segments, _, err := s.program()
	if err != nil {
		return 0, err
	}
	tls := find(segments, ptTLS)
	if tls == nil {
		return 0, errorf("the program has no thread-local storage")
	}
	align := max(tls.align, 1)
	size := tls.memsz + (-tls.vaddr-tls.memsz)&(align-1)
	return tp - size, nil
}

// libraryTLS finds a library's block through its link map, whose private part says where and which one it is.
func (s *session) libraryTLS(tp, lm uint64) (uint64, error) {
	m, err := s.linkMap(lm)
	if err != nil {
		return 0, err
	}
	tls, err := s.moduleTLS(m)
	if err != nil {
		return 0, err
	}
	private := make([]byte, maxLinkMap)
	n, _ := s.proc.ReadMemory(lm, private)
	private = private[:n]
	// The two C libraries' records look alike at first: the interpreter tells which one it is.
	if s.isMusl() {
		if module, ok := muslModule(private, tls); ok {
			return s.muslBlock(tp, module)
		}
	} else if module, offset, ok := glibcModule(private, tls); ok {
		return s.glibcBlock(tp, module, offset)
	}
	return 0, errorf("the C library's record of the thread-local storage of the object at %#x is not understood", m.addr)
}

// isMusl tells if the program's dynamic linker is musl's.
func (s *session) isMusl() bool {
	segments, bias, err := s.program()
	if err != nil {
		return false
	}
	interp := find(segments, ptInterp)
	if interp == nil {
		return false
	}
	name, err := s.text(bias+interp.vaddr, 256)
	return err == nil && strings.Contains(name, "/ld-musl-")
}

// maxLinkMap is more than any C library's struct link_map or struct dso.
const maxLinkMap = 4096

// tlsImage is what a library says of its thread-local storage: PT_TLS, where it is in memory.
type tlsImage struct{ image, filesz, memsz, align uint64 }

func (s *session) moduleTLS(m linkMap) (tlsImage, error) {
	segments, err := s.image(m.addr)
	if err != nil {
		return tlsImage{}, err
	}
	g := find(segments, ptTLS)
	if g == nil {
		return tlsImage{}, errorf("the object at %#x has no thread-local storage", m.addr)
	}
	return tlsImage{m.addr + g.vaddr, g.filesz, g.memsz, max(g.align, 1)}, nil
}

// findWords finds consecutive words in a structure.
func findWords(p []byte, words ...uint64) (offset int, ok bool) {
	for at := 0; at+8*len(words) <= len(p); at += 8 {
		match := true
		for i, w := range words {
			match = match && binary.LittleEndian.Uint64(p[at+8*i:]) == w
		}
		if match {
			return at, true
		}
	}
	return 0, false
}

func wordAt(p []byte, at int) uint64 {
	if at+8 > len(p) {
		return 0
	}
	return binary.LittleEndian.Uint64(p[at:])
}

// glibcModule reads l_tls_modid and l_tls_offset out of a struct link_map. Since 2.3 it has, in a row: l_tls_initimage,
// _initimage_size, _blocksize, _align, _firstbyte_offset, _offset, _modid (include/link.h); PT_TLS gives the first four.
func glibcModule(p []byte, t tlsImage) (module, offset uint64, ok bool) {
	at, ok := findWords(p, t.image, t.filesz, t.memsz, t.align)
	if !ok {
		return 0, 0, false
	}
	module = wordAt(p, at+48)
	return module, wordAt(p, at+40), module != 0
}

// Offsets in glibc's tcbhead_t, and what its dtv and l_tls_offset say of blocks that are not there.
const (
	tcbDTV          = 8
	glibcUnused     = ^uint64(0) // TLS_DTV_UNALLOCATED
	glibcNoOffset   = 0          // NO_TLS_OFFSET
	glibcNotStatic  = ^uint64(0) // FORCED_DYNAMIC_TLS_OFFSET
	glibcDTVEntry   = 16
	glibcDTVCounter = 16 // the entry before the first holds the number of entries
)

func (s *session) glibcBlock(tp, module, offset uint64) (uint64, error) {
	if offset != glibcNoOffset && offset != glibcNotStatic {
		return tp - offset, nil // in the static block, whether the thread has used it or not
	}
	dtv, err := s.word(tp + tcbDTV)
	if err != nil {
		return 0, err
	}
	entries, err := s.word(dtv - glibcDTVCounter)
	if err != nil {
		return 0, err
	}
	if module > entries {
		return 0, errNotAllocated
	}
	block, err := s.word(dtv + module*glibcDTVEntry)
	if err == nil && (block == glibcUnused || block == 0) {
		err = errNotAllocated
	}
	return block, err
}

var errNotAllocated = errorf("the thread has not used this library's thread-local storage yet: it has none so far")

// muslModule reads tls_id out of musl's struct dso, which has a struct tls_module (next, image, len, size, align, offset)
// right before it (ldso/dynlink.c).
func muslModule(p []byte, t tlsImage) (module uint64, ok bool) {
	at, ok := findWords(p, t.image, t.filesz, t.memsz)
	if !ok {
		return 0, false
	}
	module = wordAt(p, at+40)
	return module, module != 0
}

// muslBlock: the second word of struct pthread is the dtv; its first word counts the others, which are addresses.
func (s *session) muslBlock(tp, module uint64) (uint64, error) {
	dtv, err := s.word(tp + tcbDTV)
	if err != nil {
		return 0, err
	}
	count, err := s.word(dtv)
	if err != nil {
		return 0, err
	}
	if module > count {
		return 0, errNotAllocated
	}
	return s.word(dtv + 8*module)
}
