package live

import "kmdev/target"

// int3 is what an inserted software breakpoint shows in the payload's memory.
const int3 = 0xcc

// breakList knows the inserted breakpoints and what their INT3s hide, so that direct reads never show one.
type breakList struct {
	all    map[target.Breakpoint]struct{}
	hidden map[uint64]byte // under a Software breakpoint
}

func (l *breakList) has(b target.Breakpoint) bool {
	_, ok := l.all[b]
	return ok
}

func (l *breakList) add(b target.Breakpoint, hidden []byte) {
	if l.all == nil {
		l.all, l.hidden = map[target.Breakpoint]struct{}{}, map[uint64]byte{}
	}
	l.all[b] = struct{}{}
	if b.Kind == target.Software && len(hidden) == 1 {
		l.hidden[b.Addr] = hidden[0]
	}
}

func (l *breakList) remove(b target.Breakpoint) {
	delete(l.all, b)
	if b.Kind == target.Software {
		delete(l.hidden, b.Addr)
	}
}

func (l *breakList) clear() {
	clear(l.all)
	clear(l.hidden)
}

// mask puts the hidden bytes into p, which was read at addr. A byte that is not INT3 is not ours: the payload has mapped
// something else there.
func (l *breakList) mask(addr uint64, p []byte) {
	for at, b := range l.hidden {
		if at >= addr && at-addr < uint64(len(p)) && p[at-addr] == int3 {
			p[at-addr] = b
		}
	}
}

// overlaps tells if a breakpoint lies in the n bytes at addr.
func (l *breakList) overlaps(addr uint64, n int) bool {
	for at := range l.hidden {
		if at >= addr && at-addr < uint64(n) {
			return true
		}
	}
	return false
}

// wrote notes new bytes under breakpoints.
func (l *breakList) wrote(addr uint64, p []byte) {
	for at := range l.hidden {
		if at >= addr && at-addr < uint64(len(p)) {
			l.hidden[at] = p[at-addr]
		}
	}
}
