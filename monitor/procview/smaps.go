package procview

import (
	"bytes"
	"fmt"
	"strconv"
)

// Smaps is /proc/PID/smaps: the host's blocks of the payload's memory, under its addresses, rights and names.
func (s *Space) Smaps(host []byte) []byte {
	var out []byte
	var keep bool
	var last uint64 // end of the last block
	for line := range bytes.Lines(host) {
		h, ok := parseHeader(line)
		if !ok {
			if keep {
				out = append(out, line...)
			}
			continue
		}
		parts := s.split(h)
		if keep = len(parts) > 0; keep {
			// One block of the host's has one set of numbers: it is not cut, and has the rights of its start.
			p := parts[0]
			p.end = parts[len(parts)-1].end
			out = s.emptyBlocks(out, last, p.start)
			out = p.append(out)
			last = p.end
		}
	}
	return s.emptyBlocks(out, last, s.Size)
}

// emptyBlocks appends the blocks of the ranges within [from, to) that are the host's own pages, which count nowhere.
func (s *Space) emptyBlocks(out []byte, from, to uint64) []byte {
	for _, r := range s.Ranges {
		if r.Name == "" || r.Start < from || r.End > to {
			continue
		}
		h := r.extra()
		out = h.append(out)
		out = fmt.Appendf(out, "Size:           %8d kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n", (r.End-r.Start)/1024)
		for _, name := range rollupSums {
			out = fmt.Appendf(out, "%-16s%8d kB\n", name+":", 0)
		}
		out = append(out, "THPeligible:           0\nVmFlags: rd mr pf io de dd \n"...)
	}
	return out
}

// rollupSums are the numbers of a block in smaps that smaps_rollup has the sums of.
var rollupSums = []string{
	"Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "KSM",
	"LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
}

// Rollup is /proc/PID/smaps_rollup from the host's and from its smaps: what the monitor's blocks add is taken away. The
// monitor's anonymous memory is private.
func (s *Space) Rollup(host, smaps []byte) []byte {
	monitor, first, last := s.monitorSums(smaps)
	monitor["Pss_Anon"] = monitor["Anonymous"]
	monitor["Pss_File"] = sub(monitor["Pss"], monitor["Anonymous"])
	var out []byte
	for line := range bytes.Lines(host) {
		name, rest, _ := bytes.Cut(line, []byte{':'})
		f := bytes.Fields(rest)
		if len(f) == 2 && string(f[1]) == "kB" {
			if n, err := strconv.ParseUint(string(f[0]), 10, 64); err == nil {
				out = fmt.Appendf(out, "%-16s%8d kB\n", string(name)+":", sub(n, monitor[string(name)]))
				continue
			}
		}
		if h, ok := parseHeader(line); ok {
			h.start, h.end = first, last
			line = h.append(nil)
		}
		out = append(out, line...)
	}
	return out
}

// monitorSums adds up the blocks that are not the payload's, in kB, and gives the payload's bounds.
func (s *Space) monitorSums(smaps []byte) (sums map[string]uint64, first, last uint64) {
	sums = map[string]uint64{}
	count := false
	for line := range bytes.Lines(smaps) {
		if h, ok := parseHeader(line); ok {
			parts := s.split(h)
			if count = len(parts) == 0; !count {
				if last == 0 {
					first = parts[0].start
				}
				last = parts[len(parts)-1].end
			}
			continue
		}
		name, rest, ok := bytes.Cut(line, []byte{':'})
		if f := bytes.Fields(rest); ok && count && len(f) == 2 {
			n, _ := strconv.ParseUint(string(f[0]), 10, 64)
			sums[string(name)] += n
		}
	}
	return sums, first, last
}

// NumaMaps is /proc/PID/numa_maps (numa(7)).
func (s *Space) NumaMaps(host []byte) []byte {
	var out []byte
	for line := range bytes.Lines(host) {
		addr, rest, ok := bytes.Cut(line, []byte{' '})
		at, err := strconv.ParseUint(string(addr), 16, 64)
		if ok && err == nil && at >= s.Window && at-s.Window < s.Size {
			out = appendHex(out, at-s.Window)
			out = append(append(out, ' '), rest...)
		}
	}
	return out
}
