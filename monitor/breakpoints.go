package monitor

import (
	"kmdev/monitor/debug"
	"kmdev/monitor/memory"

	"golang.org/x/sys/unix"
)

// int3 is the breakpoint instruction.
const int3 = 0xcc

// breakTable are the inserted breakpoints, by address. One INT3 may serve a software and a hardware breakpoint: debug
// registers fire on few hosts (design.md §5), so both are INT3.
type breakTable map[uint64]*inserted

type inserted struct {
	hidden byte // the payload's byte under the INT3
	kinds  [2]bool
}

type breakState int

const (
	breakNone breakState = iota // the INT3 is the payload's own
	breakSet
	breakGone // there was one, and its INT3 has been taken away since
)

// at tells what an INT3 that was executed at addr was.
func (d *debugger) at(as *memory.AddressSpace, addr uint64) breakState {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.breaks[addr] != nil {
		return breakSet
	}
	if !d.removed[addr] {
		return breakNone
	}
	var b [1]byte
	if _, err := as.ForceRead(addr, b[:]); err == nil && b[0] != int3 {
		return breakGone
	}
	return breakNone
}

func (d *debugger) insert(as *memory.AddressSpace, kind debug.BreakpointKind, addr uint64) (byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.breaks[addr]; b != nil {
		if b.kinds[kind] {
			return 0, unix.EEXIST
		}
		b.kinds[kind] = true
		return b.hidden, nil
	}
	var code [1]byte
	if _, err := as.ForceRead(addr, code[:]); err != nil {
		return 0, unix.EFAULT
	}
	if _, err := as.ForceWrite(addr, []byte{int3}); err != nil {
		return 0, err
	}
	b := &inserted{hidden: code[0]}
	b.kinds[kind] = true
	if d.breaks == nil {
		d.breaks = breakTable{}
	}
	d.breaks[addr] = b
	return b.hidden, nil
}

func (d *debugger) remove(as *memory.AddressSpace, kind debug.BreakpointKind, addr uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.breaks[addr]
	if b == nil || !b.kinds[kind] {
		return unix.ENOENT
	}
	b.kinds[kind] = false
	if b.kinds != [2]bool{} {
		return nil
	}
	delete(d.breaks, addr)
	if d.removed == nil {
		d.removed = map[uint64]bool{}
	}
	d.removed[addr] = true
	var now [1]byte
	if _, err := as.ForceRead(addr, now[:]); err != nil || now[0] != int3 {
		return nil // the mapping went away, or other code came there: nothing of ours is left
	}
	_, err := as.ForceWrite(addr, []byte{b.hidden})
	return err
}

// removeAll takes every breakpoint out.
func (d *debugger) removeAll(as *memory.AddressSpace) {
	d.mu.Lock()
	var addrs []uint64
	for a := range d.breaks {
		addrs = append(addrs, a)
	}
	d.mu.Unlock()
	for _, a := range addrs {
		d.remove(as, debug.Software, a)
		d.remove(as, debug.Hardware, a)
	}
}

// read is ForceRead without our INT3s.
func (d *debugger) read(as *memory.AddressSpace, addr uint64, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := as.ForceRead(addr, p)
	for a, b := range d.breaks {
		if a-addr < uint64(n) {
			p[a-addr] = b.hidden
		}
	}
	return n, err
}

// write is ForceWrite that keeps our INT3s.
func (d *debugger) write(as *memory.AddressSpace, addr uint64, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := append([]byte(nil), p...)
	for a := range d.breaks {
		if a-addr < uint64(len(p)) {
			out[a-addr] = int3
		}
	}
	n, err := as.ForceWrite(addr, out)
	for a, b := range d.breaks {
		if a-addr < uint64(n) {
			b.hidden = p[a-addr]
		}
	}
	return n, err
}

// hiddenByte is the payload's byte under an INT3 of ours.
type hiddenByte struct {
	addr     uint64
	original byte
}

// freeze calls f with what the inserted breakpoints hide; none comes or goes meanwhile.
func (d *debugger) freeze(f func([]hiddenByte)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []hiddenByte
	for a, b := range d.breaks {
		list = append(list, hiddenByte{a, b.hidden})
	}
	f(list)
}

// hide takes the INT3s out of memory for as long as a vfork child uses it, who has no debugger; show puts them back. Threads
// of this process that go on meanwhile miss them, as they do under gdb elsewhere.
func (d *debugger) hide(as *memory.AddressSpace) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a, b := range d.breaks {
		as.ForceWrite(a, []byte{b.hidden})
	}
}

func (d *debugger) show(as *memory.AddressSpace) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a := range d.breaks {
		as.ForceWrite(a, []byte{int3})
	}
}
