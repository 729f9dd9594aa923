package memory

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// VMAs gives a copy of the VMA list, in order.
func (as *AddressSpace) VMAs() []VMA {
	as.mu.Lock()
	defer as.mu.Unlock()
	list := make([]VMA, 0, as.vmas.n)
	as.syncDown(0, ^uint64(0))
	files := backings()
	for v := range as.vmas.all(0, ^uint64(0)) {
		list = append(list, as.view(v, files))
	}
	return list
}

// Lookup gives the VMA that contains gva. The name of a file is the one it was mapped under.
func (as *AddressSpace) Lookup(gva uint64) (VMA, bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(gva, gva+1)
	v := as.vmas.find(gva)
	if v == nil {
		return VMA{}, false
	}
	w := *v
	w.Name = as.name(v)
	return w, true
}

// name is what /proc/PID/maps shows of v: Linux finds the heap and the main stack by their place.
func (as *AddressSpace) name(v *VMA) string {
	l := &as.layout
	switch {
	case v.Flags&(File|Special) != 0:
		return v.Name
	case v.Start < l.brk && v.End > l.brkStart:
		return "[heap]"
	case v.Start < l.stackTop && v.End >= l.stackTop:
		return "[stack]"
	}
	return ""
}

// AppendMaps appends the contents of /proc/PID/maps.
func (as *AddressSpace) AppendMaps(b []byte) []byte {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.syncDown(0, ^uint64(0))
	files := backings()
	for v := range as.vmas.all(0, ^uint64(0)) {
		w := as.view(v, files)
		b = appendLine(b, &w)
	}
	return b
}

// nameColumn is where the name starts in a line of /proc/PID/maps.
const nameColumn = 25 + 8*6 // see show_map_vma: seq_setwidth(25 + sizeof(void *) * 6 - 1) and a space

func appendLine(b []byte, v *VMA) []byte {
	line := len(b)
	b = appendHex(b, v.Start, 8)
	b = append(b, '-')
	b = appendHex(b, v.End, 8)
	b = append(b, ' ')
	for i, c := range "rwx" {
		if v.Prot&(1<<i) == 0 {
			c = '-'
		}
		b = append(b, byte(c))
	}
	kind := byte('p')
	if v.Flags&Shared != 0 {
		kind = 's'
	}
	b = append(b, kind, ' ')
	off := uint64(0)
	if v.Flags&File != 0 {
		off = v.Offset
	}
	b = appendHex(b, off, 8)
	b = append(b, ' ')
	b = appendHex(b, uint64(unix.Major(v.Dev)), 2)
	b = append(b, ':')
	b = appendHex(b, uint64(unix.Minor(v.Dev)), 2)
	b = append(b, ' ')
	b = strconv.AppendUint(b, v.Ino, 10)
	b = append(b, ' ')
	if v.Name != "" {
		for len(b)-line < nameColumn {
			b = append(b, ' ')
		}
		b = append(b, v.Name...)
	}
	return append(b, '\n')
}

func appendHex(b []byte, v uint64, width int) []byte {
	for n := width; n > 1 && v>>(4*(n-1)) == 0; n-- {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, v, 16)
}
