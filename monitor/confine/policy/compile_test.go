package policy

import (
	"math/rand/v2"
	"slices"
	"testing"

	"kmdev/monitor/confine"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/kvm"

	"golang.org/x/sys/unix"
)

// data is struct seccomp_data.
type data struct {
	nr   uint32
	arch uint32
	args [6]uint64
}

func (d *data) word(off uint32) uint32 {
	switch {
	case off == offNr:
		return d.nr
	case off == offArch:
		return d.arch
	case off >= offArgs && off%4 == 0 && off < offArgs+6*argSize:
		return uint32(d.args[(off-offArgs)/argSize] >> (off % argSize * 8))
	}
	panic("a load the kernel would refuse")
}

// interpret runs a filter as the kernel does. constant tells whether it never looked at an argument, which is what lets the
// kernel's cache answer for it.
func interpret(t *testing.T, code []Insn, d *data) (ret uint32, constant bool, steps int) {
	t.Helper()
	var a uint32
	constant = true
	for pc := 0; pc < len(code); steps++ {
		i := code[pc]
		pc++
		branch := func(yes bool) {
			if yes {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		}
		switch i.Code {
		case opLoad:
			constant = constant && i.K < offArgs
			a = d.word(i.K)
		case opAnd:
			a &= i.K
		case opJump:
			pc += int(i.K)
		case opEqual:
			branch(a == i.K)
		case opLeast:
			branch(a >= i.K)
		case opRet:
			return i.K, constant, steps
		default:
			t.Fatalf("opcode %#x", i.Code)
		}
	}
	t.Fatal("the filter ends without a return")
	return 0, false, 0
}

// TestEveryNumber: each number of the table, those between and behind, with no arguments and with random ones, gets what its rule says.
func TestEveryNumber(t *testing.T) {
	rules := Rules()
	code := Compile(rules)
	byNr := map[int]*Rule{}
	for i := range rules {
		byNr[rules[i].Nr] = &rules[i]
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for nr := range hypercall.Max + 50 {
		for try := range 200 {
			d := data{nr: uint32(nr), arch: auditArchX8664}
			for i := range d.args {
				d.args[i] = rng.Uint64() & rng.Uint64() >> (try % 64)
			}
			if r := byNr[nr]; r != nil && len(r.Any) > 0 && try%2 == 0 { // random arguments seldom hit a list
				pick := r.Any[try/2%len(r.Any)]
				d.args[pick.Arg] = uint64(pick.Values[try/4%len(pick.Values)]) | rng.Uint64()<<32
			}
			want := uint32(retKill)
			if r := byNr[nr]; r != nil && r.Allows(&d.args) {
				want = retAllow
			}
			got, constant, steps := interpret(t, code, &d)
			if got != want {
				t.Fatalf("number %d, arguments %#x: %#x, want %#x", nr, d.args, got, want)
			}
			if r := byNr[nr]; r != nil && len(r.Any) == 0 && !constant {
				t.Fatalf("number %d needs no argument, but the filter looks at one: the kernel's cache can't serve it", nr)
			}
			if constant && steps > 16 {
				t.Errorf("number %d takes %d steps", nr, steps)
			}
		}
	}
}

func TestOtherABIs(t *testing.T) {
	code := Compile(Rules())
	const i386, x32 = 0x40000003, 0x40000000
	for nr := range uint32(hypercall.Max) {
		for _, d := range []data{{nr: nr, arch: i386}, {nr: nr | x32, arch: auditArchX8664}, {nr: nr | 1<<31, arch: auditArchX8664}, {nr: ^nr, arch: auditArchX8664}} {
			if got, _, _ := interpret(t, code, &d); got != retKill {
				t.Fatalf("number %#x of %#x: %#x", d.nr, d.arch, got)
			}
		}
	}
}

func TestMarker(t *testing.T) {
	d := data{nr: unix.SYS_PRCTL, arch: auditArchX8664, args: [6]uint64{confine.Marker}}
	if got, _, _ := interpret(t, Compile(Rules()), &d); got != retErrno|confine.MarkerErrno {
		t.Errorf("the marker gives %#x", got)
	}
}

// TestFollowsTable: a row that is passed to the host is allowed, one that is refused is not unless the monitor itself needs it.
func TestFollowsTable(t *testing.T) {
	allowed := map[int]bool{}
	for _, r := range Rules() {
		allowed[r.Nr] = true
	}
	for r := range hypercall.Rows {
		switch {
		case r.How() == hypercall.Pass && !allowed[r.Nr]:
			t.Errorf("%s is passed to the host, but the filter kills it", r.Name)
		case r.How() == hypercall.Refuse && allowed[r.Nr] && own[r.Name] == "":
			t.Errorf("%s is refused, but the filter allows it", r.Name)
		}
	}
	for name := range within {
		if r := hypercall.ByName(name); r == nil || r.How() != hypercall.Handle || own[name] != "" {
			t.Errorf("within has %s, which is no handled row or the monitor's own", name)
		}
	}
	for name := range own {
		if hypercall.ByName(name) == nil {
			t.Errorf("own has %q, which is no system call", name)
		}
	}
}

// dangerous are calls that would make the filter worth little: whatever becomes of the table, somebody has to think before one of
// these is allowed.
var dangerous = []string{
	"ptrace", "personality", "modify_ldt", "bpf", "perf_event_open", "kexec_load", "kexec_file_load", "init_module", "finit_module",
	"delete_module", "iopl", "ioperm", "reboot", "userfaultfd", "pkey_mprotect", "process_madvise",
}

func TestDangerous(t *testing.T) {
	for _, r := range Rules() {
		if name := hypercall.Lookup(r.Nr).Name; slices.Contains(dangerous, name) {
			t.Errorf("%s is allowed", name)
		}
	}
}

// TestRequests: package kvm's list has every number that its source names.
func TestRequests(t *testing.T) {
	source := ioctlNumbers(t, "../../kvm/ioctl_unsafe.go")
	listed := slices.Clone(kvm.Requests())
	slices.Sort(listed)
	if !slices.Equal(source, listed) {
		t.Errorf("package kvm makes the requests\n%#x, its list has\n%#x", source, listed)
	}
}
