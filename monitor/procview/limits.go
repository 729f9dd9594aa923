package procview

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// limitNames are the lines of /proc/PID/limits that may not be the host's.
var limitNames = map[int]string{
	unix.RLIMIT_NOFILE: "Max open files",
	unix.RLIMIT_AS:     "Max address space",
	unix.RLIMIT_DATA:   "Max data size",
	unix.RLIMIT_STACK:  "Max stack size",
}

// LimitsText is /proc/PID/limits with v.Limits in place of the host's values.
func (v *View) LimitsText(host []byte) []byte {
	values := map[string]unix.Rlimit{}
	for resource, l := range v.Limits {
		values[limitNames[resource]] = l
	}
	var out []byte
	for line := range bytes.Lines(host) {
		// proc_pid_limits: "%-25s %-20s %-20s %-10s\n"
		const nameEnd, unitsAt = 25, 68
		if len(line) > unitsAt {
			if l, ok := values[string(bytes.TrimRight(line[:nameEnd], " "))]; ok {
				line = fmt.Appendf(nil, "%s %-20s %-20s %s", line[:nameEnd], limitText(l.Cur), limitText(l.Max), line[unitsAt:])
			}
		}
		out = append(out, line...)
	}
	return out
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}
