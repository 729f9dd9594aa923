package live

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"kmdev/target"
)

// Usage tells the memory that each mapping takes: the host's figures of the window.
func (p *Process) Usage() ([]target.Usage, error) {
	maps, err := p.Maps()
	if err != nil {
		return nil, err
	}
	host, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", p.info.Pid))
	if err != nil {
		return nil, err
	}
	areas := parseSmaps(host, p.window, p.window+p.size)
	out := make([]target.Usage, len(maps))
	for i, m := range maps {
		out[i] = target.Usage{Mapping: m, KB: map[string]uint64{}}
		for _, a := range areas {
			a.addTo(&out[i])
		}
	}
	return out, nil
}

// area is a host mapping in payload addresses with its figures.
type area struct {
	start, end uint64
	kb         []figure
}

type figure struct {
	name string
	kb   uint64
}

// parseSmaps takes the mappings between from and to out of /proc/PID/smaps.
func parseSmaps(text []byte, from, to uint64) (areas []area) {
	inside := false
	for line := range bytes.Lines(text) {
		var start, end uint64
		if line[0] < 'A' || line[0] > 'Z' {
			if n, _ := fmt.Sscanf(string(line), "%x-%x ", &start, &end); n == 2 {
				inside = start >= from && end <= to
				if inside {
					areas = append(areas, area{start: start - from, end: end - from})
				}
			}
			continue
		}
		fields := bytes.Fields(line)
		if !inside || len(fields) != 3 || string(fields[2]) != "kB" {
			continue
		}
		kb, err := strconv.ParseUint(string(fields[1]), 10, 64)
		if err == nil {
			last := &areas[len(areas)-1]
			last.kb = append(last.kb, figure{string(bytes.TrimSuffix(fields[0], []byte(":"))), kb})
		}
	}
	return areas
}

// figures that count memory and so may be shared out; the page sizes are what they are.
func (f figure) isAmount() bool { return f.name != "KernelPageSize" && f.name != "MMUPageSize" }

// addTo adds the area's figures to a mapping that it overlaps. The host may see as one area what the payload has as
// several mappings (it has no execute permission): each gets its share.
func (a *area) addTo(u *target.Usage) {
	from, to := max(a.start, u.Start), min(a.end, u.End)
	if from >= to {
		return
	}
	part, whole := to-from, a.end-a.start
	for _, f := range a.kb {
		if !f.isAmount() {
			u.KB[f.name] = f.kb
			continue
		}
		share := f.kb
		if part != whole {
			share = uint64((float64(f.kb)*float64(part) + float64(whole) - 1) / float64(whole)) // 0 only if all of it is
		}
		u.KB[f.name] += share
	}
}
