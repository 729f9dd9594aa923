package policy

import (
	"slices"

	"kmdev/monitor/confine"

	"golang.org/x/sys/unix"
)

// Insn is a classic BPF instruction (struct sock_filter, linux/filter.h).
type Insn struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// The opcodes used. All are ones that the kernel's cache of always allowed numbers understands (kernel/seccomp.c,
// seccomp_is_const_allow), but the loads of arguments, which end its interest.
const (
	opLoad  = 0x20 // A = word of struct seccomp_data at K
	opAnd   = 0x54 // A &= K
	opJump  = 0x05 // PC += K
	opEqual = 0x15 // A == K
	opLeast = 0x35 // A >= K
	opRet   = 0x06
)

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16 // the low half of each comes first
	argSize = 8
)

const (
	auditArchX8664 = 0xc000003e
	retKill        = 0x8000_0000 // SECCOMP_RET_KILL_PROCESS
	retErrno       = 0x0005_0000 // SECCOMP_RET_ERRNO
	retAllow       = 0x7fff_0000 // SECCOMP_RET_ALLOW
)

// segment is a range of numbers, up to the next segment's start, that are all treated alike: rule is nil where none is allowed.
type segment struct {
	start uint32
	rule  *Rule
}

func (s *segment) plain() bool {
	return s.rule == nil || len(s.rule.Any) == 0 && s.rule.Nr != unix.SYS_PRCTL
}

// Compile makes the filter: a binary search over the numbers, then the tests of arguments. ioctl comes first, since KVM_RUN is one
// and no bitmap of the kernel's answers for a call whose arguments count.
func Compile(rules []Rule) []Insn {
	code := []Insn{
		{opLoad, 0, 0, offArch},
		{opEqual, 1, 0, auditArchX8664}, // not int 0x80, which has numbers of its own
		{opRet, 0, 0, retKill},
		{opLoad, 0, 0, offNr}, // those of x32 are above all
	}
	if i := slices.IndexFunc(rules, func(r Rule) bool { return r.Nr == unix.SYS_IOCTL }); i >= 0 {
		first := leaf(&rules[i])
		code = append(append(code, Insn{opEqual, 0, uint8(len(first)), unix.SYS_IOCTL}), first...)
		rules = slices.Delete(slices.Clone(rules), i, i+1)
	}
	return append(code, searchCode(segments(rules))...)
}

func segments(rules []Rule) []segment {
	var s []segment
	add := func(start int, r *Rule) {
		next := segment{uint32(start), r}
		if n := len(s); n > 0 && s[n-1].plain() && next.plain() && (s[n-1].rule == nil) == (r == nil) {
			return // one goes on
		}
		s = append(s, next)
	}
	end := 0 // of the numbers dealt with
	for i := range rules {
		if rules[i].Nr > end {
			add(end, nil)
		}
		add(rules[i].Nr, &rules[i])
		end = rules[i].Nr + 1
	}
	add(end, nil)
	return s
}

// searchCode is position-independent: each branch ends with a return of its own.
func searchCode(s []segment) []Insn {
	if len(s) == 1 {
		return leaf(s[0].rule)
	}
	middle := len(s) / 2
	below, above := searchCode(s[:middle]), searchCode(s[middle:])
	code := []Insn{{opLeast, uint8(len(below)), 0, s[middle].start}}
	if len(below) > 255 {
		code = []Insn{{opLeast, 0, 1, s[middle].start}, {opJump, 0, 0, uint32(len(below))}}
	}
	return slices.Concat(code, below, above)
}

func leaf(r *Rule) []Insn {
	if r == nil {
		return []Insn{{opRet, 0, 0, retKill}}
	}
	var code []Insn
	if r.Nr == unix.SYS_PRCTL {
		code = append(code, Insn{opLoad, 0, 0, offArgs}, Insn{opEqual, 0, 1, confine.Marker}, Insn{opRet, 0, 0, retErrno | confine.MarkerErrno})
	}
	if len(r.Any) == 0 {
		return append(code, Insn{opRet, 0, 0, retAllow})
	}
	for _, t := range r.Any {
		code = append(code, testCode(t)...)
	}
	return append(code, Insn{opRet, 0, 0, retKill})
}

// testCode returns from the filter if the test passes, and goes on behind its end otherwise.
func testCode(t Test) []Insn {
	code := []Insn{{opLoad, 0, 0, uint32(offArgs + argSize*t.Arg)}}
	if t.Mask != all {
		code = append(code, Insn{opAnd, 0, 0, t.Mask})
	}
	for i, v := range t.Values {
		left := len(t.Values) - 1 - i // comparisons that follow
		if t.Not {
			code = append(code, Insn{opEqual, uint8(left + 1), 0, v}) // over the return
		} else {
			code = append(code, Insn{opEqual, uint8(left), 0, v})
		}
	}
	if !t.Not { // the last comparison decides
		code[len(code)-1].Jf = 1
	}
	return append(code, Insn{opRet, 0, 0, retAllow})
}
