package memory

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// backing is what the host's /proc/self/maps says of a file mapping in the window: files are renamed and deleted after they
// have been mapped, and some file systems show other numbers there than to fstat(2).
type backing struct {
	start, end uint64 // payload addresses
	dev, ino   uint64
	name       string
}

// backings reads the host's view of all file mappings, in order. It is nil if that can't be had.
func backings() []backing {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	var list []backing
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		text = rest
		if b, ok := parseBacking(line); ok && b.start-usermem.Window < usermem.Size {
			b.start -= usermem.Window
			b.end -= usermem.Window
			list = append(list, b)
		}
	}
	return list
}

// parseBacking takes a line of /proc/PID/maps apart (proc_pid_maps(5)). ok is false for memory without a file.
func parseBacking(line []byte) (b backing, ok bool) {
	var f [5][]byte
	for i := range f {
		if f[i], line, ok = bytes.Cut(line, []byte{' '}); !ok && i < 4 {
			return b, false
		}
	}
	from, to, _ := bytes.Cut(f[0], []byte{'-'})
	major, minor, _ := bytes.Cut(f[3], []byte{':'})
	var n [5]uint64
	for i, field := range []struct {
		text []byte
		base int
	}{{from, 16}, {to, 16}, {major, 16}, {minor, 16}, {f[4], 10}} {
		v, err := strconv.ParseUint(string(field.text), field.base, 64)
		if err != nil {
			return b, false
		}
		n[i] = v
	}
	b = backing{start: n[0], end: n[1], dev: unix.Mkdev(uint32(n[2]), uint32(n[3])), ino: n[4]}
	b.name = string(bytes.TrimLeft(line, " "))
	return b, b.ino != 0 || b.name != ""
}

// view gives a copy of v as /proc/PID/maps shows it.
func (as *AddressSpace) view(v *VMA, files []backing) VMA {
	w := *v
	w.Name = as.name(v)
	if v.Flags&File == 0 {
		return w
	}
	i, _ := slices.BinarySearchFunc(files, v.Start, func(b backing, a uint64) int {
		if b.end <= a {
			return -1
		}
		return 1
	})
	if i < len(files) && files[i].start <= v.Start {
		w.Dev, w.Ino, w.Name = files[i].dev, files[i].ino, files[i].name
	}
	return w
}
