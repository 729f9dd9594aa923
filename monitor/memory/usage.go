package memory

import (
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Usage is what the payload's memory adds up to, in bytes and as Linux counts it (vm_stat_account), and where its heap is.
type Usage struct {
	Total         uint64
	Data          uint64 // private and writable, without stacks
	Stack         uint64 // what grows down
	Exec          uint64 // executable and not writable
	Peak          uint64 // the most that Total has been
	BrkStart, Brk uint64
}

// Usage adds up the VMA list.
func (as *AddressSpace) Usage() Usage {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(0, usermem.Size)
	u := Usage{Peak: as.peak, BrkStart: as.layout.brkStart, Brk: as.layout.brk}
	for v := range as.vmas.all(0, usermem.Size) {
		n := v.size()
		u.Total += n
		switch {
		case v.Flags&GrowsDown != 0:
			u.Stack += n
		case v.Prot&(unix.PROT_WRITE|unix.PROT_EXEC) == unix.PROT_EXEC:
			u.Exec += n
		case v.accountable():
			u.Data += n
		}
	}
	return u
}

// Hidden calls f for each part of memory of which the host's own maps don't tell all: what is executable, which nothing on the
// host is, and what has a name without a file.
func (as *AddressSpace) Hidden(f func(start, end uint64, exec bool, name string)) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.hidden(f)
}

// HiddenLocked is Hidden for WatchHidden's function.
func (as *AddressSpace) HiddenLocked(f func(start, end uint64, exec bool, name string)) { as.hidden(f) }

// WatchHidden makes f run now and whenever executable memory, or memory with a name of its own, comes or goes. f is called with
// the address space locked.
func (as *AddressSpace) WatchHidden(f func()) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.watch = f
	f()
}

// watched runs WatchHidden's function if the VMAs that were counted since the last time give it a reason to.
func (as *AddressSpace) watched() {
	if as.hiddenChanged && as.watch != nil {
		as.watch()
	}
	as.hiddenChanged = false
}

func (as *AddressSpace) hidden(f func(start, end uint64, exec bool, name string)) {
	as.syncDown(0, usermem.Size)
	for v := range as.vmas.all(0, usermem.Size) {
		name := ""
		if v.Flags&File == 0 {
			name = as.name(v)
		}
		if exec := v.Prot&unix.PROT_EXEC != 0; exec || name != "" {
			f(v.Start, v.End, exec, name)
		}
	}
}
