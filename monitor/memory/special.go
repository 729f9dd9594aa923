package memory

import (
	"kmdev/monitor/hostcall"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Part is a piece of a special mapping: [vvar], [vdso].
type Part struct {
	Name string // as /proc/PID/maps shows it
	Prot uint32
	// Host, if not 0, is host memory of Size bytes that the payload sees in place, read-only: the host's own [vvar].
	Host uintptr
	Size uint64
	// Data is what a private copy is filled with if Host is 0; Size is rounded up from its length.
	Data []byte
}

func (p *Part) size() uint64 { return max(pageUp(p.Size), pageUp(uint64(len(p.Data)))) }

// MapSpecial maps parts one behind the other, above the stack or, without ASLR, where mmap would (arch/x86/entry/vdso/vma.c),
// and gives the address of the first. System calls can't read parts that are host memory: they get EFAULT.
func (as *AddressSpace) MapSpecial(parts []Part) (uint64, unix.Errno) {
	m := &mapping{v: VMA{Flags: Special}, fd: noFD}
	for i := range parts {
		m.length += parts[i].size()
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	addr, e := as.place(m, as.aboveStack(m.length), 0, pageSize)
	if e != 0 {
		return 0, e
	}
	at := addr
	for i := range parts {
		if e := as.mapPart(&parts[i], at); e != 0 {
			as.unmap(addr, addr+m.length)
			return 0, e
		}
		at += parts[i].size()
	}
	return addr, 0
}

// aboveStack is vdso_addr: a random place between the stack's end and the next 2 MiB boundary; 0 without ASLR or room.
func (as *AddressSpace) aboveStack(length uint64) uint64 {
	start := as.layout.stackTop
	end := min(alignUp(start+length, largePage), usermem.Size-pageSize)
	if as.cfg.NoASLR || end < start+length {
		return 0
	}
	return start + as.random((end-length-start)/pageSize+1)
}

func (as *AddressSpace) mapPart(p *Part, at uint64) unix.Errno {
	v := &VMA{Start: at, End: at + p.size(), Prot: p.Prot & protAll, Flags: Special | DontDump, Name: p.Name, Offset: at}
	if p.Host != 0 {
		return as.mapHostPart(p, v)
	}
	v.Flags = Special
	if e := hostMap(v.Start, v.size(), protRead|protWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, noFD, 0); e != 0 {
		return e
	}
	as.replace(v.Start, v.End, v)
	if e := usermem.CopyOut(at, p.Data); e != 0 {
		return e
	}
	if e := hostProtect(v.Start, v.size(), hostProt(v.Prot)); e != 0 {
		return e
	}
	if as.install(v, v.Start, v.End) != nil {
		return unix.ENOMEM
	}
	return 0
}

// mapHostPart makes host memory v's. The window has a hole there, and the first fault makes the slot: many programs never look
// at the clock.
func (as *AddressSpace) mapHostPart(p *Part, v *VMA) unix.Errno {
	v.GPA, v.Host, v.Prot = 0, uint64(p.Host), p.Prot&^protWrite&protAll
	as.replace(v.Start, v.End, v)
	return 0
}

// hostSlot makes the read-only slot of v, which is host memory, unless it has one.
func (as *AddressSpace) hostSlot(v *VMA) (err error) {
	if v.GPA == 0 {
		v.GPA, err = as.slots.private(uintptr(v.Host), v.size(), slotReadOnly)
	}
	return err
}

// readable tells whether there is anything at page of host memory: a host without paravirtual clocks has no pages for them.
func (v *VMA) readable(page uint64) bool {
	var b [1]byte
	return hostcall.CopyIn(b[:], uintptr(v.Host+page-v.Start)) == 1
}

// MapVDSO maps the host's vDSO: its data pages ([vvar], vvarSize bytes at host address vvar) as they are, and behind them a
// copy of its code. It gives the address of the code's ELF header.
func (as *AddressSpace) MapVDSO(vvar, vvarSize, vdso, vdsoSize uint64) (uint64, bool) {
	addr, e := as.MapSpecial([]Part{
		{Name: "[vvar]", Prot: protRead, Host: uintptr(vvar), Size: vvarSize},
		{Name: "[vdso]", Prot: protRead | protExec, Data: hostBytes(vdso, vdsoSize)},
	})
	return addr + vvarSize, e == 0
}
