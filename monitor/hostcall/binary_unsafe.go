package hostcall

import (
	"sync"
	"unsafe"
)

// span is a range of host addresses.
type span struct{ start, end uintptr }

// segment is a PT_LOAD of this binary. start and end are page-aligned, offset is start's.
type segment struct {
	span
	fileEnd, offset uintptr
	writable        bool
}

// segments reads the binary's program headers where the auxiliary vector says that they are.
var segments = sync.OnceValue(func() (list []segment) {
	phdr, n := auxValue(atPhdr), auxValue(atPhnum)
	for i := range n {
		p := (*programHeader)(unsafe.Pointer(phdr + i*unsafe.Sizeof(programHeader{})))
		if p.typ != typeLoad {
			continue
		}
		in := uintptr(p.vaddr) & 4095
		list = append(list, segment{span: span{uintptr(p.vaddr) - in, pageUp(uintptr(p.vaddr + p.memsz))},
			fileEnd: uintptr(p.vaddr + p.filesz), offset: uintptr(p.offset) - in, writable: p.flags&2 != 0})
	}
	return list
})

// programHeader is Elf64_Phdr.
type programHeader struct {
	typ, flags                                 uint32
	offset, vaddr, paddr, filesz, memsz, align uint64
}

const (
	atIgnore      = 1
	atPhdr        = 3
	atPhnum       = 5
	atEntry       = 9
	atSysinfoEhdr = 33
)

// auxPairs is where the auxiliary vector begins.
func auxPairs() uintptr {
	p := startVector + (*(*uintptr)(unsafe.Pointer(startVector))+2)*wordSize
	for *(*uintptr)(unsafe.Pointer(p)) != 0 {
		p += wordSize
	}
	return p + wordSize
}

func auxValue(key uintptr) uintptr {
	for p := auxPairs(); ; p += 2 * wordSize {
		switch *(*uintptr)(unsafe.Pointer(p)) {
		case key:
			return *(*uintptr)(unsafe.Pointer(p + wordSize))
		case 0:
			return 0
		}
	}
}

// auxWords is the auxiliary vector, AT_NULL included, with or without the vDSO.
func auxWords(vdso bool) (words []uintptr) {
	for p := auxPairs(); ; p += 2 * wordSize {
		key := *(*uintptr)(unsafe.Pointer(p))
		if key == atSysinfoEhdr && !vdso {
			key = atIgnore
		}
		words = append(words, key, *(*uintptr)(unsafe.Pointer(p + wordSize)))
		if key == 0 {
			return words
		}
	}
}

// belowStack is how far below the start vector of execve's own making everything is kept: the rest of its stack. The
// kernel leaves at least 128 MiB between that stack and what mmap places (mmap_base).
const belowStack = 32 << 20

// topKept is the address from which on a child keeps everything. A child's child finds it in its hand-over.
func topKept() uintptr {
	if given.top != 0 {
		return given.top
	}
	return (startVector - belowStack) &^ 4095
}
