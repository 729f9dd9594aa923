package loader

import (
	"fmt"
	"os"
	"sort"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// testWindow is where the tests keep payload memory on the host: real mappings at testWindow+gva.
const testWindow = 0x1000_0000_0000

// window is a Memory over real host mappings, which places things where Linux does without randomization (with the
// stack lower, since the payload's address space ends lower), and remembers what was mapped.
type window struct {
	t      testing.TB
	pages  map[uint64]page // by address
	mapped []vma           // to unmap
	brk    uint64
	exec   bool
	calls  int    // of mmap(2)
	stack  uint64 // size of the stack
}

type vma struct{ start, length uint64 }

// page is what /proc/PID/maps tells of one page.
type page struct {
	prot int
	file bool
	off  int64 // of a file page
}

const (
	testPIEBase  = 0x5555_5555_4000
	testInterp   = 0x5fff_e000_0000 // top of the mmap area
	testStackTop = 0x5fff_ffff_f000
	testVDSO     = 0x5fff_f000_0000
)

func newWindow(t testing.TB) *window {
	w := &window{t: t, pages: map[uint64]page{}}
	t.Cleanup(w.unmap)
	return w
}

func (w *window) unmap() {
	for _, v := range w.mapped {
		_, _, _ = unix.Syscall(unix.SYS_MUNMAP, uintptr(testWindow+v.start), uintptr(v.length), 0)
	}
	w.mapped = nil
}

func (w *window) mmap(addr, length uint64, prot, flags, fd int, off int64) unix.Errno {
	w.calls++
	if addr%pageSize != 0 || length%pageSize != 0 || length == 0 || addr >= taskSize || length > taskSize-addr {
		w.t.Fatalf("mapping %#x+%#x is outside the address space or not page-aligned", addr, length)
	}
	hostProt := uintptr(prot &^ unix.PROT_EXEC)
	_, _, e := unix.Syscall6(unix.SYS_MMAP, uintptr(testWindow+addr), uintptr(length), hostProt,
		uintptr(flags|unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_NORESERVE), uintptr(fd), uintptr(off))
	if e == 0 {
		w.mapped = append(w.mapped, vma{addr, length})
	}
	return e
}

// maxNoted bounds the pages noted for one mapping: a hostile .bss has millions.
const maxNoted = 1 << 16

func (w *window) note(addr, length uint64, p page) {
	for n := uint64(0); n < length && n < maxNoted*pageSize; n += pageSize {
		w.pages[addr+n] = p
		p.off += pageSize
	}
}

func (w *window) MapFile(addr, length uint64, prot, fd int, off int64, fixed bool) (uint64, unix.Errno) {
	if !fixed {
		w.t.Fatal("MapFile without fixed: the loader chooses its addresses")
	}
	e := w.mmap(addr, length, prot, 0, fd, off)
	if e == 0 {
		w.note(addr, length, page{prot, true, off})
	}
	return addr, e
}

func (w *window) MapAnon(addr, length uint64, prot int, fixed bool) (uint64, unix.Errno) {
	if !fixed {
		w.t.Fatal("MapAnon without fixed: the loader chooses its addresses")
	}
	e := w.mmap(addr, length, prot, unix.MAP_ANON, -1, 0)
	if e == 0 {
		for n := uint64(0); n < length && n < maxNoted*pageSize; n += pageSize {
			w.pages[addr+n] = page{prot: prot}
		}
	}
	return addr, e
}

func (w *window) ChoosePIEBase(size, align uint64) uint64 { return testPIEBase &^ (align - 1) }

func (w *window) ChooseInterp(size, align uint64) uint64 {
	if size > testInterp {
		return 0
	}
	return pageDown(testInterp-size) &^ (align - 1)
}

// MapStack gives exactly the pages that were asked for, so that writing more fails.
func (w *window) MapStack(size uint64, exec bool) (uint64, unix.Errno) {
	if size > MaxStackImage {
		w.t.Fatalf("a stack of %#x bytes, more than MaxStackImage", size)
	}
	w.exec, w.stack = exec, pageUp(size)
	return testStackTop, w.mmap(testStackTop-w.stack, w.stack, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON, -1, 0)
}

func (w *window) SetBrk(end uint64) uint64 {
	w.brk = pageUp(end)
	return w.brk
}

func (w *window) MapVDSO() (uint64, bool) { return testVDSO, true }

func (w *window) CopyOut(addr uint64, src []byte) unix.Errno {
	if len(src) == 0 {
		return 0
	}
	n, e := processVM(unix.SYS_PROCESS_VM_WRITEV, addr, src)
	if e == 0 && n != len(src) {
		return unix.EFAULT
	}
	return e
}

// read gives n bytes of payload memory.
func (w *window) read(addr, n uint64) []byte {
	w.t.Helper()
	b := make([]byte, n)
	if got, e := processVM(unix.SYS_PROCESS_VM_READV, addr, b); e != 0 || got != len(b) {
		w.t.Fatalf("reading %#x+%#x: %d bytes, %v", addr, n, got, e)
	}
	return b
}

func processVM(nr uintptr, addr uint64, b []byte) (int, unix.Errno) {
	local := unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	remote := unix.RemoteIovec{Base: uintptr(testWindow + addr), Len: len(b)}
	n, _, e := unix.Syscall6(nr, uintptr(os.Getpid()), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
	return int(n), e
}

// describe prints pages as ranges, for messages.
func describe(pages map[uint64]page) string {
	addrs := make([]uint64, 0, len(pages))
	for a := range pages {
		addrs = append(addrs, a)
	}
	sort.Slice(addrs, func(i, j int) bool { return addrs[i] < addrs[j] })
	out := ""
	for i := 0; i < len(addrs); {
		j, p := i, pages[addrs[i]]
		for j+1 < len(addrs) && follows(addrs[j], addrs[j+1], pages) {
			j++
		}
		out += fmt.Sprintf("  %#x-%#x prot %d file %v off %#x\n", addrs[i], addrs[j]+pageSize, p.prot, p.file, p.off)
		i = j + 1
	}
	return out
}

func follows(a, b uint64, pages map[uint64]page) bool {
	p, q := pages[a], pages[b]
	if p.file {
		p.off += pageSize
	}
	return b == a+pageSize && p == q
}
