package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/handover"
)

// EncodeProc leaves the monitor's procfs, if it is open, to the next monitor of the process or to its child's.
func EncodeProc(w *handover.Writer) {
	p := &proc
	w.Bool(p.opened.Load())
	if !p.opened.Load() {
		return
	}
	w.Int(p.fd)
	w.Bool(p.detached)
	w.Uints(p.dev, p.exe.dev, p.exe.ino)
}

// ProcFD is the descriptor of the monitor's procfs, -1 if it has none.
func ProcFD() int {
	if !proc.opened.Load() {
		return -1
	}
	return proc.fd
}

// DecodeProc takes over what EncodeProc left, before the payload runs.
func DecodeProc(r *handover.Reader) {
	if !r.Bool() {
		return
	}
	p := &proc
	p.fd, p.detached, p.dev = r.Int(), r.Bool(), r.Uint()
	p.exe = fileID{r.Uint(), r.Uint()}
	p.once.Do(func() {})
	p.opened.Store(true)
	if p.fd >= 0 {
		p.readSelf(unix.Getpid())
	}
}

// OwnStat is the host's /proc/PID/stat of this process; nil if there is none. It opens nothing that stays open.
func OwnStat() []byte {
	if p := &proc; p.opened.Load() && p.fd >= 0 {
		text, _ := readFile(p.fd, p.self+"/stat")
		return text
	}
	text, _ := readFile(unix.AT_FDCWD, "/proc/self/stat")
	return text
}
