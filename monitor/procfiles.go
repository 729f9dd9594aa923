package monitor

import (
	"strconv"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/procview"
	"kmdev/monitor/usermem"
)

// procText makes the payload's text of a file in /proc/PID.
type procText func(*procRequest) []byte

// procRequest is a payload thread that opens a file of /proc, of its own process or of a relative's.
type procRequest struct {
	t *Thread
	*hypercall.ProcFile
}

// procTexts serve the rows of package sys's table that are so marked. One that gives nil is as on the host.
var procTexts = map[string]procText{
	"auxv":         (*procRequest).auxv,
	"cmdline":      (*procRequest).cmdline,
	"environ":      (*procRequest).environ,
	"limits":       func(r *procRequest) []byte { return r.view().LimitsText(r.Host()) },
	"maps":         (*procRequest).maps,
	"numa_maps":    func(r *procRequest) []byte { return r.space().NumaMaps(r.Host()) },
	"personality":  (*procRequest).personality,
	"smaps":        func(r *procRequest) []byte { return r.space().Smaps(r.Host()) },
	"smaps_rollup": func(r *procRequest) []byte { return r.space().Rollup(r.Host(), r.Read("smaps")) },
	"stat":         func(r *procRequest) []byte { return r.view().Stat(r.Host()) },
	"statm":        func(r *procRequest) []byte { return r.view().Statm(r.Host()) },
	"status":       func(r *procRequest) []byte { return r.view().Status(r.Host()) },
	"syscall":      func(*procRequest) []byte { return []byte("running\n") },
	"wchan":        func(*procRequest) []byte { return []byte("0") },
}

// ProcFile is hypercall.Process's.
func (m *Machine) ProcFile(t hypercall.Task, f *hypercall.ProcFile) ([]byte, bool) {
	make := procTexts[f.Name]
	if make == nil {
		return nil, false
	}
	text := make(&procRequest{t.(*Thread), f})
	return text, text != nil
}

func (r *procRequest) auxv() []byte {
	if r.Own {
		return r.t.m.start.Auxv()
	}
	return nil
}

// cmdline and environ are the host's once it knows where the payload's are: then it also knows what a changed title means.
func (r *procRequest) cmdline() []byte {
	s := &r.t.m.start
	return r.strings(s.ArgStart, s.ArgEnd)
}

func (r *procRequest) environ() []byte {
	s := &r.t.m.start
	return r.strings(s.EnvStart, s.EnvEnd)
}

func (r *procRequest) strings(start, end uint64) []byte {
	if !r.Own || r.t.m.told {
		return nil
	}
	b := make([]byte, end-start)
	return b[:usermem.CopyInSome(b, start)]
}

func (r *procRequest) personality() []byte {
	if !r.Own {
		return nil
	}
	p := strconv.FormatUint(r.t.m.personality.Load(), 16)
	return []byte("00000000"[min(len(p), 8):] + p + "\n")
}

func (r *procRequest) maps() []byte {
	if r.Own {
		return r.t.m.as.AppendMaps(nil)
	}
	return r.space().Maps(r.Host())
}

// space is where the process's memory is in its host maps.
func (r *procRequest) space() *procview.Space {
	s := &procview.Space{Window: usermem.Window, Size: usermem.Size}
	if r.Own {
		r.t.m.as.Hidden(func(start, end uint64, exec bool, name string) {
			s.Ranges = append(s.Ranges, procview.Range{Start: start, End: end, Exec: exec, Name: name})
		})
	} else {
		s.Ranges = r.Relative.(*relative).ranges()
	}
	return s
}
