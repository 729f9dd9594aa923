package procview

import (
	"bytes"
	"encoding/binary"
)

// Bits of an entry of /proc/PID/pagemap (pagemap.rst).
const (
	pagePresent = 1 << 63
	pageSwapped = 1 << 62
	pageFile    = 1 << 61 // of a file, or shared
)

// MonitorResident counts what a monitor has in memory for itself: in the host's maps, all that is outside of the window.
// pagemap reads that file at an offset. It costs as much as the monitor is large, whatever the payload's size.
func (s *Space) MonitorResident(maps []byte, pagemap func(b []byte, off int64) (int, error)) (r Resident) {
	const chunk = 512 // entries read at once
	var b [chunk * 8]byte
	for line := range bytes.Lines(maps) {
		h, ok := parseHeader(line)
		if !ok || h.start >= s.Window && h.start-s.Window < s.Size || h.rights[0] != 'r' || bytes.HasPrefix(h.name, []byte("[v")) {
			continue
		}
		for page, end := h.start/pageSize, h.end/pageSize; page < end; {
			n, err := pagemap(b[:8*min(end-page, chunk)], int64(page*8))
			if n < 8 || err != nil {
				return r
			}
			for i := 0; i+8 <= n; i += 8 {
				r.count(binary.LittleEndian.Uint64(b[i:]))
			}
			page += uint64(n / 8)
		}
	}
	return r
}

func (r *Resident) count(entry uint64) {
	switch {
	case entry&pageSwapped != 0:
		r.Swap += pageSize
	case entry&pagePresent == 0:
	case entry&pageFile != 0:
		r.File += pageSize
	default:
		r.Anon += pageSize
	}
}
