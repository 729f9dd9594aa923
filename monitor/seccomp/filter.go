package seccomp

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// Actions of a filter's result (SECCOMP_RET_*), most severe first, and the parts of a result.
const (
	KillProcess uint32 = 0x80000000
	KillThread  uint32 = 0
	Trap        uint32 = 0x00030000
	Errno       uint32 = 0x00050000
	UserNotif   uint32 = 0x7fc00000
	Trace       uint32 = 0x7ff00000
	Log         uint32 = 0x7ffc0000
	Allow       uint32 = 0x7fff0000

	ActionMask uint32 = 0xffff0000
	DataMask   uint32 = 0x0000ffff
)

// Filter is a program and those attached before it; nil is none. It never changes, so threads share it.
type Filter struct {
	prog  []Insn
	log   bool // SECCOMP_FILTER_FLAG_LOG
	prev  *Filter
	total int // instructions on the path to the first, with the kernel's penalty for each program
}

// The kernel's limit on a path: MAX_INSNS_PER_PATH, where each program counts 4 more than its length.
const (
	maxPath = 32768
	penalty = 4
)

// Attach puts a program that Check has passed in front of f. ENOMEM if the path gets too long.
func (f *Filter) Attach(prog []Insn, log bool) (*Filter, unix.Errno) {
	total := len(prog)
	if f != nil {
		total += f.total + penalty
	}
	if total > maxPath {
		return nil, unix.ENOMEM
	}
	return &Filter{prog: prog, log: log, prev: f, total: total}, 0
}

// Has tells whether old is one of f's path: a thread with old may be given f (SECCOMP_FILTER_FLAG_TSYNC).
func (f *Filter) Has(old *Filter) bool {
	for ; f != old; f = f.prev {
		if f == nil {
			return false
		}
	}
	return true
}

// Len is how many programs there are.
func (f *Filter) Len() (n int) {
	for ; f != nil; f = f.prev {
		n++
	}
	return n
}

// Run evaluates all programs and returns the most severe result; of equal ones the latest program's. log tells whether
// that program asked to be logged.
func (f *Filter) Run(d *Data) (result uint32, log bool) {
	result = Allow
	for ; f != nil; f = f.prev {
		if r := run(f.prog, d); int32(r&ActionMask) < int32(result&ActionMask) {
			result, log = r, f.log
		}
	}
	return result, log
}

// DecodeProgram reads an array of struct sock_filter.
func DecodeProgram(b []byte) []Insn {
	prog := make([]Insn, len(b)/InsnSize)
	for i := range prog {
		p := b[i*InsnSize:]
		prog[i] = Insn{binary.LittleEndian.Uint16(p), p[2], p[3], binary.LittleEndian.Uint32(p[4:])}
	}
	return prog
}

// Append writes f for the process that replaces or continues this one: each program, the first attached first, as a
// length, the log flag and its instructions. ReadFilter is the other side.
func (f *Filter) Append(b []byte) []byte {
	if f == nil {
		return b
	}
	b = f.prev.Append(b)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(f.prog)))
	flag := byte(0)
	if f.log {
		flag = 1
	}
	b = append(b, flag)
	for _, in := range f.prog {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.JT, in.JF)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}

var errFilter = errors.New("seccomp: not a filter that Append has written")

// ReadFilter reads what Append wrote; nil for no bytes.
func ReadFilter(b []byte) (f *Filter, err error) {
	const head = 3
	for len(b) > 0 {
		if len(b) < head {
			return nil, errFilter
		}
		n, flag := int(binary.LittleEndian.Uint16(b))*InsnSize, b[2]
		if len(b) < head+n || flag > 1 {
			return nil, errFilter
		}
		prog := DecodeProgram(b[head : head+n])
		if !Check(prog) {
			return nil, errFilter
		}
		var e unix.Errno
		if f, e = f.Attach(prog, flag == 1); e != 0 {
			return nil, errFilter
		}
		b = b[head+n:]
	}
	return f, nil
}

// ActionName is an action's name without SECCOMP_RET_.
func ActionName(action uint32) string {
	switch action {
	case KillThread:
		return "KILL_THREAD"
	case Trap:
		return "TRAP"
	case Errno:
		return "ERRNO"
	case UserNotif:
		return "USER_NOTIF"
	case Trace:
		return "TRACE"
	case Log:
		return "LOG"
	case Allow:
		return "ALLOW"
	}
	return "KILL_PROCESS"
}
