package memory

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tablePool hands out 4 KiB pages for guest page tables: host memory outside the window in steps of 2 MiB, each with a
// slot of its own.
type tablePool struct {
	slots  *slotSet
	chunks map[uint64]*poolChunk // by gpa / largePage
	last   *poolChunk
	free   []uint64 // guest-physical addresses of zeroed pages that were in use
	inUse  int

	fresh, end uint64 // guest-physical, of pages in the newest chunk that were never used
}

type poolChunk struct {
	mem  []byte
	gpa  uint64
	info [largePage / pageSize]tableInfo
}

// tableInfo is what the monitor knows about a table page besides its entries.
type tableInfo struct {
	used   uint16 // entries that are not 0
	starts uint8  // of a level-1 table: faults that continued no stream; see ahead.go
}

// table is a page of 512 entries that the guest's CPU (or KVM) walks while the monitor edits it. Entries are written by
// single 8-byte stores, which x86 does not tear or reorder; every edit that matters to a CPU already running is followed
// by a system call.
type table = [512]uint64

func (p *tablePool) chunk(gpa uint64) *poolChunk {
	if c := p.last; c != nil && gpa-c.gpa < largePage {
		return c
	}
	p.last = p.chunks[gpa/largePage]
	return p.last
}

func (p *tablePool) at(gpa uint64) (*table, *tableInfo) {
	c := p.chunk(gpa)
	off := gpa - c.gpa
	return (*table)(unsafe.Pointer(&c.mem[off])), &c.info[off/pageSize]
}

// get gives a zeroed page.
func (p *tablePool) get() (uint64, error) {
	if n := len(p.free); n > 0 {
		gpa := p.free[n-1]
		p.free = p.free[:n-1]
		p.inUse++
		return gpa, nil
	}
	if p.fresh == p.end {
		if err := p.grow(); err != nil {
			return 0, err
		}
	}
	p.fresh += pageSize
	p.inUse++
	return p.fresh - pageSize, nil
}

// put takes a page back whose entries are all 0 and which KVM holds no shadow of.
func (p *tablePool) put(gpa uint64) {
	_, info := p.at(gpa)
	*info = tableInfo{}
	p.free = append(p.free, gpa)
	p.inUse--
}

func (p *tablePool) grow() error {
	mem, err := unix.Mmap(-1, 0, largePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("memory for page tables: %w", err)
	}
	// A fork would make the guest's page tables copy-on-write, in this process too.
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		return fmt.Errorf("memory for page tables: %w", err)
	}
	gpa, err := p.slots.private(uintptr(unsafe.Pointer(&mem[0])), largePage, 0)
	if err != nil {
		_ = unix.Munmap(mem)
		return err
	}
	p.add(mem, gpa)
	return nil
}

// TablesSize is the size in bytes of Config.Tables.
const TablesSize = largePage

// add takes TablesSize bytes of zeroed memory that a slot has at gpa.
func (p *tablePool) add(mem []byte, gpa uint64) {
	p.chunks[gpa/largePage] = &poolChunk{mem: mem, gpa: gpa}
	p.fresh, p.end = gpa, gpa+TablesSize
}

// close gives the host memory back. The VM must not run any more.
func (p *tablePool) close() {
	for _, c := range p.chunks {
		_ = unix.Munmap(c.mem)
	}
	p.chunks, p.last, p.free, p.fresh, p.end = nil, nil, nil, 0, 0
}
