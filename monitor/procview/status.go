package procview

import (
	"bytes"
	"fmt"
	"strconv"
)

// Status is /proc/PID/status: the host's lines, those replaced that tell of the monitor's memory, threads and signals.
func (v *View) Status(host []byte) []byte {
	h := hostStatus(host)
	var out []byte
	for line := range bytes.Lines(host) {
		name, _, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			out = append(out, line...)
			continue
		}
		switch field := statusFields[string(name)]; {
		case field.kb != nil:
			line = fmt.Appendf(nil, "%s:\t%8d kB\n", name, field.kb(v, h)/1024)
		case field.text != nil:
			line = fmt.Appendf(nil, "%s:\t%s\n", name, field.text(v, h))
		}
		out = append(out, line...)
	}
	return out
}

// hostStatus has lines of the host's text, by name, as numbers; sizes in kB.
type statusNumbers map[string]uint64

func hostStatus(text []byte) statusNumbers {
	h := statusNumbers{}
	for line := range bytes.Lines(text) {
		name, rest, _ := bytes.Cut(line, []byte{':'})
		if f := bytes.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseUint(string(f[0]), 10, 64); err == nil {
				h[string(name)] = n
			}
		}
	}
	return h
}

// kb is a size of the host's in bytes.
func (h statusNumbers) kb(name string) uint64 { return h[name] * 1024 }

type statusField struct {
	kb   func(*View, statusNumbers) uint64 // bytes
	text func(*View, statusNumbers) string
}

func sizeField(f func(*View, statusNumbers) uint64) statusField { return statusField{kb: f} }
func textField(f func(*View, statusNumbers) string) statusField { return statusField{text: f} }

func maskField(f func(*View) uint64) statusField {
	return textField(func(v *View, _ statusNumbers) string { return fmt.Sprintf("%016x", f(v)) })
}

// statusFields are the lines that are not the host's.
var statusFields = map[string]statusField{
	"Threads": textField(func(v *View, _ statusNumbers) string { return strconv.Itoa(v.Threads) }),
	"SigBlk":  maskField(func(v *View) uint64 { return v.Blocked }),
	"SigIgn":  maskField(func(v *View) uint64 { return v.Ignored }),
	"SigCgt":  maskField(func(v *View) uint64 { return v.Caught }),
	"FDSize": textField(func(v *View, h statusNumbers) string {
		if v.FDSize != 0 {
			return strconv.Itoa(v.FDSize)
		}
		return strconv.FormatUint(h["FDSize"], 10)
	}),
	"Seccomp":         textField(func(v *View, _ statusNumbers) string { return strconv.FormatUint(v.Seccomp, 10) }),
	"Seccomp_filters": textField(func(v *View, _ statusNumbers) string { return strconv.FormatUint(v.Filters, 10) }),
	"NoNewPrivs": textField(func(v *View, _ statusNumbers) string {
		if v.NoNewPrivs {
			return "1"
		}
		return "0"
	}),

	"VmSize": sizeField(func(v *View, _ statusNumbers) uint64 { return v.Sizes.Total }),
	"VmPeak": sizeField(func(v *View, _ statusNumbers) uint64 { return max(v.Sizes.Total, v.Sizes.Peak) }),
	// The host's peak less what the monitor has now.
	"VmHWM": sizeField(func(v *View, h statusNumbers) uint64 {
		return max(v.resident(h.kb("VmRSS")), v.resident(h.kb("VmHWM")))
	}),
	"VmRSS":   sizeField(func(v *View, h statusNumbers) uint64 { return v.rss(h) }),
	"RssAnon": sizeField(func(v *View, h statusNumbers) uint64 { return sub(h.kb("RssAnon"), v.Monitor.Anon) }),
	"RssFile": sizeField(func(v *View, h statusNumbers) uint64 { return sub(h.kb("RssFile"), v.Monitor.File) }),
	"VmData":  sizeField(func(v *View, _ statusNumbers) uint64 { return v.Sizes.Data }),
	"VmStk":   sizeField(func(v *View, _ statusNumbers) uint64 { return v.Sizes.Stack }),
	"VmExe":   sizeField(func(v *View, _ statusNumbers) uint64 { return min(v.Addresses.text(), v.Sizes.Exec) }),
	"VmLib":   sizeField(func(v *View, _ statusNumbers) uint64 { return sub(v.Sizes.Exec, v.Addresses.text()) }),
	"VmSwap":  sizeField(func(v *View, h statusNumbers) uint64 { return sub(h.kb("VmSwap"), v.Monitor.Swap) }),
}

// rss is the sum of its three parts, as on Linux.
func (v *View) rss(h statusNumbers) uint64 {
	return sub(h.kb("RssAnon"), v.Monitor.Anon) + sub(h.kb("RssFile"), v.Monitor.File) + h.kb("RssShmem")
}
