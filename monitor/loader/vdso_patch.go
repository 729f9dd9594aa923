package loader

import "bytes"

// getcpuCall is: mov $309,%eax (getcpu); syscall; ret. The arguments of the vDSO's function are the system call's.
var getcpuCall = []byte{0xb8, 0x35, 0x01, 0, 0, 0x0f, 0x05, 0xc3}

// RedirectGetcpu makes __vdso_getcpu in a copy of the vDSO make the system call, for a guest whose TSC_AUX and GDT do not
// say which of the host's CPUs it runs on (see HostVDSO). It reports whether it found the function; image is unchanged if not.
func RedirectGetcpu(image []byte) bool {
	at, size, ok := vdsoSymbol(image, "__vdso_getcpu")
	if !ok || size < uint64(len(getcpuCall)) {
		return false
	}
	copy(image[at:], getcpuCall)
	return true
}

// Sizes and offsets of Elf64_Shdr and Elf64_Sym.
const (
	shdrSize  = 64
	symSize   = 24
	shtDynsym = 11
)

// vdsoSymbol finds a function in the image of a vDSO, whose addresses are offsets into it.
func vdsoSymbol(image []byte, name string) (at, size uint64, ok bool) {
	if len(image) < ehdrSize || !isELF(image) {
		return 0, 0, false
	}
	shoff, shnum := le.Uint64(image[40:]), uint64(le.Uint16(image[60:]))
	sections, ok := within(image, shoff, shnum*shdrSize)
	if !ok {
		return 0, 0, false
	}
	for i := uint64(0); i < shnum; i++ {
		sh := sections[i*shdrSize:]
		if le.Uint32(sh[4:]) != shtDynsym {
			continue
		}
		link := uint64(le.Uint32(sh[40:]))
		if link >= shnum {
			return 0, 0, false
		}
		names, ok1 := sectionData(image, sections[link*shdrSize:])
		syms, ok2 := sectionData(image, sh)
		if !ok1 || !ok2 {
			return 0, 0, false
		}
		return findSymbol(image, syms, names, name)
	}
	return 0, 0, false
}

func findSymbol(image, syms, names []byte, name string) (at, size uint64, ok bool) {
	want := append([]byte(name), 0)
	for ; len(syms) >= symSize; syms = syms[symSize:] {
		str := uint64(le.Uint32(syms))
		if str >= uint64(len(names)) || !bytes.HasPrefix(names[str:], want) {
			continue
		}
		at, size = le.Uint64(syms[8:]), le.Uint64(syms[16:])
		_, ok = within(image, at, size)
		return at, size, ok
	}
	return 0, 0, false
}

func sectionData(image, sh []byte) ([]byte, bool) {
	return within(image, le.Uint64(sh[24:]), le.Uint64(sh[32:]))
}

// within is image[off:off+n], if that exists.
func within(image []byte, off, n uint64) ([]byte, bool) {
	if size := uint64(len(image)); off > size || n > size-off {
		return nil, false
	}
	return image[off : off+n], true
}
