package memory

import (
	"bytes"
	"os"
	"strconv"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Where our own advice (see huge.go) has split the mapping of a VMA on the host, mremap(2) must be told of each piece: it
// grows or moves no more than one mapping. Taking the advice back joins most of them again (unadviseHuge), but not those
// whose pages have been touched while they were apart.

// hostPieces gives the bounds of the host's mappings within [start, end), in order, as payload addresses.
func hostPieces(start, end uint64) (list [][2]uint64) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(text) {
		from, rest, _ := bytes.Cut(line, []byte{'-'})
		to, _, _ := bytes.Cut(rest, []byte{' '})
		lo, err1 := strconv.ParseUint(string(from), 16, 64)
		hi, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 != nil || err2 != nil || hi <= usermem.Window+start || lo >= usermem.Window+end {
			continue
		}
		list = append(list, [2]uint64{max(lo, usermem.Window+start) - usermem.Window, min(hi, usermem.Window+end) - usermem.Window})
	}
	return list
}

// hostExpand grows the mapping of [old, old+oldLen), behind which is nothing, in place.
func hostExpand(v *VMA, old, oldLen, newLen uint64) unix.Errno {
	_, e := hostRemap(old, oldLen, newLen, 0, 0)
	if e == unix.EFAULT && v.Advised {
		if p := hostPieces(old, old+oldLen); len(p) > 1 {
			last := p[len(p)-1]
			n := last[1] - last[0]
			_, e = hostRemap(last[0], n, n+newLen-oldLen, 0, 0)
		}
	}
	return e
}

// movePieces is the host's part of move, piece by piece. If one can't be moved, those that have been go back.
func movePieces(r *remap, flags uint64) unix.Errno {
	kept := min(r.oldLen, r.newLen)
	pieces := hostPieces(r.old, r.old+kept)
	if len(pieces) < 2 {
		return unix.EFAULT
	}
	for i, p := range pieces {
		n := p[1] - p[0]
		grown := n
		if i == len(pieces)-1 {
			grown += r.newLen - kept
		}
		to := r.new + p[0] - r.old
		if _, e := hostRemap(p[0], n, grown, flags, to); e != 0 {
			for _, q := range pieces[:i] {
				hostRemap(r.new+q[0]-r.old, q[1]-q[0], q[1]-q[0], unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, q[0])
			}
			return e
		}
	}
	if r.oldLen > kept {
		return hostUnmap(r.old+kept, r.oldLen-kept)
	}
	return 0
}
