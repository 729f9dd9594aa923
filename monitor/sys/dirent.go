package sys

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

var direntCalls = []entry{
	{unix.SYS_GETDENTS, func(t task, a args) uint64 { return getdents(t, unix.SYS_GETDENTS, a, 18) }},
	{unix.SYS_GETDENTS64, func(t task, a args) uint64 { return getdents(t, unix.SYS_GETDENTS64, a, 19) }},
}

// Where both kinds of directory entry have their length; names start at 18 in
// the old one and at 19 in the new one.
const direntReclen = 16

// getdents leaves out of /proc/self/fd, fdinfo and task what is the monitor's.
func getdents(t task, nr int, a args, nameAt int) uint64 {
	hide := hiddenEntries(t, a[0])
	if hide == nil {
		return pass(t, nr, a)
	}
	size := int(min(uint32(a[2]), 1<<20))
	m := t.Scratch().Alloc(size)
	if m.Host() == 0 {
		return fail(unix.ENOMEM)
	}
	for {
		r, e := slow(uintptr(nr), uintptr(a[0]), m.Host(), uintptr(size), 0, 0, 0)
		if e != 0 || r == 0 {
			return uint64(r) | fail(e)
		}
		kept := filterEntries(m.Bytes()[:r], nameAt, hide)
		if len(kept) == 0 {
			continue // 0 would mean the end
		}
		if e := usermem.CopyOut(a[1], kept); e != 0 {
			return fail(e)
		}
		return uint64(len(kept))
	}
}

// hiddenEntries returns which entries of an open directory the payload does not
// see, or nil if it sees all.
func hiddenEntries(t task, fd uint64) func(n int) bool {
	if !hypercall.ValidFD(t, fd) {
		return nil
	}
	proc := procfs(t)
	var x unix.Statx_t
	if !statxFD(int(uint32(fd)), &x, statxMntUnique) || !proc.onProc(int(uint32(fd)), &x) {
		return nil
	}
	rel, trusted, ok := proc.path(int(uint32(fd)))
	if !ok {
		return nil
	}
	ref := proc.refer(t, rel, trusted)
	if ref.pid == 0 || len(ref.tail) != 1 || !ref.own && ref.rel == nil && !proc.monitor(ref.pid) {
		return nil
	}
	switch ref.tail[0] {
	case "fd", "fdinfo":
		limit := ref.fdLimit(t)
		return func(n int) bool { return n >= limit }
	case "task":
		return func(n int) bool {
			of := ref
			of.tid = n
			return !proc.hasThread(t, &of)
		}
	case "map_files":
		return func(int) bool { return true }
	}
	return nil
}

// filterEntries removes numeric entries in place and returns what is left.
func filterEntries(b []byte, nameAt int, hide func(n int) bool) []byte {
	kept := b[:0]
	for len(b) > nameAt {
		n := int(uint16(le32(b[direntReclen:])))
		if n <= nameAt || n > len(b) {
			break
		}
		name := b[nameAt:n]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if num, err := strconv.Atoi(string(name)); err != nil || !hide(num) {
			kept = append(kept, b[:n]...)
		}
		b = b[n:]
	}
	return kept
}
