package sys

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountOf finds the mount that an open file is on: the directory of the
// filesystem that it shows, and where.
func mountOf(p *procMount, fd int) (root, top string, ok bool) {
	var x unix.Statx_t
	if !statxFD(fd, &x, statxMntUnique) {
		return "", "", false
	}
	if x.Mask&statxMntUnique != 0 {
		if root, top, ok = statmount(x.Mnt_id); ok {
			return root, top, true
		}
	}
	if !statxFD(fd, &x, unix.STATX_MNT_ID) {
		return "", "", false
	}
	return mountinfo(p, x.Mnt_id)
}

// Parts of struct statmount (Linux 6.8).
const (
	statmountRoot    = 0x8 // what to ask for
	statmountPoint   = 0x10
	statmountMask    = 8 // offsets
	statmountRootAt  = 104
	statmountPointAt = 108
	statmountStrings = 512
)

// statmount asks the kernel for one mount.
func statmount(id uint64) (root, top string, ok bool) {
	const asked = statmountRoot | statmountPoint
	var req [24]byte // size, 0, id, what to ask for
	put32(req[:], uint32(len(req)))
	put64(req[8:], id)
	put64(req[16:], asked)
	b := make([]byte, statmountStrings+2*unix.PathMax)
	if statmountCall(&req, b) != 0 || binary.LittleEndian.Uint64(b[statmountMask:])&asked != asked {
		return "", "", false
	}
	text := func(at int) string {
		from := statmountStrings + int(le32(b[at:]))
		if from > len(b) {
			return ""
		}
		return unix.ByteSliceToString(b[from:])
	}
	root, top = text(statmountRootAt), text(statmountPointAt)
	return root, top, root != "" && top != ""
}

// mountinfo is statmount for kernels without it.
func mountinfo(p *procMount, id uint64) (root, top string, ok bool) {
	info, err := readFile(p.fd, "thread-self/mountinfo")
	if err != nil {
		return "", "", false
	}
	want := strconv.FormatUint(id, 10)
	for line := range bytes.Lines(info) {
		if f := bytes.Fields(line); len(f) > 4 && string(f[0]) == want {
			return unescapeMount(string(f[3])), unescapeMount(string(f[4])), true
		}
	}
	return "", "", false
}

// unescapeMount undoes mountinfo's \040 for blanks and the like.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
