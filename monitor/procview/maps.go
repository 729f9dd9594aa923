package procview

import (
	"bytes"
	"slices"
	"strconv"
)

// Space is where the payload's memory lies in the host's maps, and what they don't tell of it. Ranges are in order.
type Space struct {
	Window, Size uint64
	Ranges       []Range
}

// header is the first line of a block in smaps, or a line of maps (proc_pid_maps(5)).
type header struct {
	start, end uint64
	rights     [4]byte
	offset     uint64
	dev, ino   []byte
	name       []byte
}

// parseHeader takes such a line apart; ok is false for any other.
func parseHeader(line []byte) (h header, ok bool) {
	f := [5][]byte{}
	rest := bytes.TrimSuffix(line, []byte{'\n'})
	for i := range f {
		if f[i], rest, ok = bytes.Cut(rest, []byte{' '}); !ok && i < 4 {
			return h, false
		}
	}
	from, to, ok := bytes.Cut(f[0], []byte{'-'})
	if !ok || len(f[1]) != 4 {
		return h, false
	}
	var errs [3]error
	h.start, errs[0] = strconv.ParseUint(string(from), 16, 64)
	h.end, errs[1] = strconv.ParseUint(string(to), 16, 64)
	h.offset, errs[2] = strconv.ParseUint(string(f[2]), 16, 64)
	h.rights = [4]byte(f[1])
	h.dev, h.ino, h.name = f[3], f[4], bytes.TrimLeft(rest, " ")
	return h, errs == [3]error{} && h.start < h.end
}

// nameColumn is where the name starts: seq_setwidth(25 + sizeof(void *) * 6 - 1) and a blank in show_map_vma.
const nameColumn = 25 + 8*6

func (h *header) append(b []byte) []byte {
	line := len(b)
	b = appendHex(b, h.start)
	b = append(b, '-')
	b = appendHex(b, h.end)
	b = append(append(append(b, ' '), h.rights[:]...), ' ')
	b = appendHex(b, h.offset)
	b = append(append(append(b, ' '), h.dev...), ' ')
	b = append(append(b, h.ino...), ' ')
	if len(h.name) != 0 {
		for len(b)-line < nameColumn {
			b = append(b, ' ')
		}
		b = append(b, h.name...)
	}
	return append(b, '\n')
}

// appendHex writes at least eight digits.
func appendHex(b []byte, n uint64) []byte {
	text := strconv.FormatUint(n, 16)
	for i := len(text); i < 8; i++ {
		b = append(b, '0')
	}
	return append(b, text...)
}

// split cuts a header of the host's into the payload's: none if it is the monitor's memory, several if it covers ranges of
// different rights.
func (s *Space) split(h header) (parts []header) {
	if h.start < s.Window || h.end-s.Window > s.Size {
		return nil
	}
	h.start -= s.Window
	h.end -= s.Window
	file := !bytes.Equal(h.ino, []byte{'0'})
	if !file {
		h.offset = 0
	}
	i, _ := slices.BinarySearchFunc(s.Ranges, h.start, func(r Range, a uint64) int {
		if r.End <= a {
			return -1
		}
		return 1
	})
	for at := h.start; at < h.end; {
		part := h
		part.start = at
		if file {
			part.offset += at - h.start
		}
		switch {
		case i == len(s.Ranges) || s.Ranges[i].Start >= h.end:
		case s.Ranges[i].Start > at:
			part.end = s.Ranges[i].Start
		default:
			r := &s.Ranges[i]
			part.end = min(r.End, h.end)
			r.mark(&part)
			i++
		}
		parts = append(parts, part)
		at = part.end
	}
	return parts
}

func (r *Range) mark(h *header) {
	if r.Exec {
		h.rights[2] = 'x'
	}
	if r.Name != "" {
		h.name = []byte(r.Name)
	}
}

// extra is a range that has no memory in the window: the host's own pages, which the payload may read.
func (r *Range) extra() header {
	h := header{start: r.Start, end: r.End, rights: [4]byte{'r', '-', '-', 'p'}, dev: []byte("00:00"), ino: []byte{'0'}}
	r.mark(&h)
	return h
}

// Maps is /proc/PID/maps. What the host has cut in pieces, which Linux would merge, is whole again.
func (s *Space) Maps(host []byte) []byte {
	var list []header
	for line := range bytes.Lines(host) {
		if h, ok := parseHeader(line); ok {
			list = append(list, s.split(h)...)
		}
	}
	list = s.addExtras(list)
	var out []byte
	for i := 0; i < len(list); i++ {
		h := list[i]
		for ; i+1 < len(list) && h.continues(&list[i+1]); i++ {
			h.end = list[i+1].end
		}
		out = h.append(out)
	}
	return out
}

// addExtras puts in the named ranges that are holes in the window.
func (s *Space) addExtras(list []header) []header {
	for _, r := range s.Ranges {
		if r.Name == "" {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, r.Start, func(h header, a uint64) int {
			if h.end <= a {
				return -1
			}
			return 1
		})
		if at == len(list) || list[at].start >= r.End {
			list = slices.Insert(list, at, r.extra())
		}
	}
	return list
}

// continues tells whether n is the same mapping carried on. Those of files stay apart: Linux does not merge them either once
// they have pages of their own.
func (h *header) continues(n *header) bool {
	return h.end == n.start && h.rights == n.rights && bytes.Equal(h.name, n.name) && bytes.Equal(h.ino, []byte{'0'}) && bytes.Equal(n.ino, h.ino)
}

// Sizes adds up the payload's memory in the host's maps.
func (s *Space) Sizes(host []byte) (sum Sizes) {
	var list []header
	for line := range bytes.Lines(host) {
		if h, ok := parseHeader(line); ok {
			list = append(list, s.split(h)...)
		}
	}
	for _, h := range s.addExtras(list) {
		sum.add(&h)
	}
	return sum
}

func (sum *Sizes) add(h *header) {
	n := h.end - h.start
	write, exec, private := h.rights[1] == 'w', h.rights[2] == 'x', h.rights[3] == 'p'
	sum.Total += n
	switch { // vm_stat_account and is_stack_mapping, is_exec_mapping, is_data_mapping
	case exec && !write:
		sum.Exec += n
	case string(h.name) == "[stack]":
		sum.Stack += n
	case write && private:
		sum.Data += n
	}
}
