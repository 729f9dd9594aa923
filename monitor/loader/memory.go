package loader

import "golang.org/x/sys/unix"

// Memory is the new program's address space, empty when Map begins. All addresses are payload addresses; lengths are
// in bytes. Addresses and lengths that Map passes are multiples of the page size and inside the address space.
type Memory interface {
	// MapFile maps length bytes of fd from off, privately. With fixed, at addr, replacing what is there.
	MapFile(addr, length uint64, prot int, fd int, off int64, fixed bool) (uint64, unix.Errno)
	// MapAnon maps private zero pages. With fixed, at addr, replacing what is there.
	MapAnon(addr, length uint64, prot int, fixed bool) (uint64, unix.Errno)

	// ChoosePIEBase gives the address, a multiple of align, for a PIE of size bytes: where Linux's ELF_ET_DYN_BASE region
	// is, randomized or not as the address space decides. 0 if there is no room. Nothing is mapped.
	ChoosePIEBase(size, align uint64) uint64
	// ChooseInterp gives the address, a multiple of align, for an ELF interpreter or static-PIE of size bytes: the next
	// free place of the top-down mmap area. 0 if there is no room. Nothing is mapped.
	ChooseInterp(size, align uint64) uint64

	// MapStack makes the stack that grows down. top is the first address above it, page-aligned. At least size bytes below
	// top can be written from now on (size is at most MaxStackImage); it is well to populate them and a few pages more.
	MapStack(size uint64, execStack bool) (top uint64, errno unix.Errno)
	// SetBrk puts the heap at or above end, the first address after the program, and returns where it starts: on the next
	// page, or after a random gap where the address space randomizes.
	SetBrk(end uint64) (start uint64)
	// MapVDSO maps the host's vDSO and its data pages and returns the address of the vDSO's ELF header. ok is false when
	// there is none to map: the program then gets no AT_SYSINFO_EHDR and makes system calls instead.
	MapVDSO() (addr uint64, ok bool)

	Writer
}

// Writer stores into payload memory; EFAULT if a byte of it is not writable.
type Writer interface {
	CopyOut(addr uint64, src []byte) unix.Errno
}
