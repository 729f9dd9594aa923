package monitor

import (
	"bytes"
	"fmt"
	"strconv"

	"kmdev/monitor/confine"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/memory"
	"kmdev/monitor/signal"
	"kmdev/monitor/usermem"
)

// procFile makes the payload's text of a file in /proc/self; host reads the host's.
type procFile func(t *Thread, host func() []byte) []byte

// procFiles are the files that would show the monitor. All others of /proc/self are the host's own.
var procFiles = map[string]procFile{
	"maps":    func(t *Thread, _ func() []byte) []byte { return t.m.as.AppendMaps(nil) },
	"auxv":    func(t *Thread, _ func() []byte) []byte { return t.m.start.Auxv() },
	"cmdline": func(t *Thread, _ func() []byte) []byte { return t.m.strings(t.m.start.ArgStart, t.m.start.ArgEnd) },
	"environ": func(t *Thread, _ func() []byte) []byte { return t.m.strings(t.m.start.EnvStart, t.m.start.EnvEnd) },
	"smaps":   (*Thread).procSmaps,
	"status":  (*Thread).procStatus,
}

// ProcFile is hypercall.Process's.
func (m *Machine) ProcFile(t hypercall.Task, name string, host func() []byte) ([]byte, bool) {
	f := procFiles[name]
	if f == nil {
		return nil, false
	}
	return f(t.(*Thread), host), true
}

// strings reads the argument or environment area as it is now: programs write their title there.
func (m *Machine) strings(start, end uint64) []byte {
	b := make([]byte, end-start)
	return b[:usermem.CopyInSome(b, start)]
}

// procStatus replaces the lines of status(5) that tell of the monitor's threads and of signals.
func (t *Thread) procStatus(host func() []byte) []byte {
	var caught, ignored signal.Set
	for i, a := range t.m.actions.Table() {
		switch a.Handler {
		case signal.SigDfl:
		case signal.SigIgn:
			ignored = ignored.With(i + 1)
		default:
			caught = caught.With(i + 1)
		}
	}
	fields := map[string]string{
		"Threads": strconv.Itoa(t.m.Threads()),
		"SigBlk":  fmt.Sprintf("%016x", uint64(t.sig.Blocked())),
		"SigIgn":  fmt.Sprintf("%016x", uint64(ignored)),
		"SigCgt":  fmt.Sprintf("%016x", uint64(caught)),

		"Seccomp":         strconv.FormatUint(t.confined.Load().mode(), 10),
		"Seccomp_filters": strconv.Itoa(t.confined.Load().chain().Len()),
	}
	if !confine.PayloadNoNewPrivs(true) {
		fields["NoNewPrivs"] = "0"
	}
	var out []byte
	for line := range bytes.Lines(host()) {
		name, _, ok := bytes.Cut(line, []byte{':'})
		if text, mine := fields[string(name)]; ok && mine {
			line = fmt.Appendf(nil, "%s:\t%s\n", name, text)
		}
		out = append(out, line...)
	}
	return out
}

// procSmaps keeps the host's blocks that lie in the window, under the payload's addresses, rights and names. The host may
// have cut a VMA in more pieces than the payload knows, each with its own block.
func (t *Thread) procSmaps(host func() []byte) []byte {
	var out []byte
	keep := false
	for line := range bytes.Lines(host()) {
		start, end, header := smapsHeader(line)
		if !header {
			if keep {
				out = append(out, line...)
			}
			continue
		}
		if keep = start >= usermem.Window && end <= usermem.Window+usermem.Size; keep {
			v, ok := t.m.as.Lookup(start - usermem.Window)
			if keep = ok; keep {
				out = appendPiece(out, v, start-usermem.Window, end-usermem.Window)
			}
		}
	}
	return out
}

// smapsHeader reads the "start-end …" line that begins a block.
func smapsHeader(line []byte) (start, end uint64, ok bool) {
	from, rest, ok := bytes.Cut(line, []byte{'-'})
	if !ok {
		return 0, 0, false
	}
	to, _, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return 0, 0, false
	}
	start, e1 := strconv.ParseUint(string(from), 16, 64)
	end, e2 := strconv.ParseUint(string(to), 16, 64)
	return start, end, e1 == nil && e2 == nil
}

// appendPiece writes the maps line of the part [start, end) of v.
func appendPiece(out []byte, v memory.VMA, start, end uint64) []byte {
	if v.Flags&memory.File != 0 {
		v.Offset += start - v.Start
	}
	v.Start, v.End = start, min(end, v.End)
	return memory.AppendLine(out, &v)
}
