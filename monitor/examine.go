package monitor

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/monitor/cpu"
	"kmdev/monitor/guest"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"
)

// Verdict is the doctor's opinion of a finding.
type Verdict string

const (
	Good    Verdict = "ok"
	Note    Verdict = "note"    // works, with a difference worth knowing
	Missing Verdict = "MISSING" // no payload can run
)

// Finding is one line of kmdev doctor.
type Finding struct {
	Verdict Verdict
	What    string
	Found   string
	Fix     string // what to do, if anything
}

// Examine probes the host: what the kernel says, and what a small guest sees. It changes the calling thread for good (it
// becomes a vCPU's), so it is for a process that does nothing else.
func Examine(device string) []Finding {
	runtime.LockOSThread()
	e := &examiner{device: device}
	e.kernel()
	if !e.openDevice() {
		return e.findings
	}
	e.capabilities()
	e.addresses()
	e.vectors()
	e.limits()
	e.probe()
	return e.findings
}

type examiner struct {
	device   string
	host     *Host
	findings []Finding
}

func (e *examiner) add(v Verdict, what, fix, format string, args ...any) {
	e.findings = append(e.findings, Finding{v, what, fmt.Sprintf(format, args...), fix})
}

func (e *examiner) kernel() {
	var u unix.Utsname
	unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	if major < 5 {
		e.add(Missing, "kernel", "boot Linux 5.10 or newer", "%s is too old", release)
		return
	}
	e.add(Good, "kernel", "", "%s", release)
}

func (e *examiner) openDevice() bool {
	host, err := OpenHost(e.device)
	if err != nil {
		what, fix, _ := strings.Cut(err.Error(), ": ")
		e.add(Missing, e.device, fix, "%s", what)
		return false
	}
	e.host = host
	e.add(Good, e.device, "", "KVM API version 12")
	return true
}

func (e *examiner) capabilities() {
	for _, r := range required {
		e.add(Good, r.name, "", "for %s", r.why)
	}
	sys := e.host.Sys
	e.add(Good, "memory slots", "", "%d", e.host.Slots)
	if n := sys.Check(kvm.CapMaxVCPUs); n < 1000 {
		e.add(Note, "threads of a payload", "", "%d at once (KVM_CAP_MAX_VCPUS)", n)
	} else {
		e.add(Good, "threads of a payload", "", "%d at once", min(n, guest.MaxVCPUs))
	}
}

func (e *examiner) addresses() {
	e.add(Good, "payload addresses", "", "0 … %#x", uint64(usermem.Size))
	if b := e.host.PhysBits; b < 39 {
		e.add(Note, "guest-physical addresses", "", "%d bits: a payload may use %d GiB", b, 1<<(b-30))
	} else {
		e.add(Good, "guest-physical addresses", "", "%d bits", b)
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil && slices.Contains(strings.Fields(string(info)), "la57") {
		e.add(Note, "57-bit addresses", "", "the host has them; payloads get 48 bits, as Linux programs do unless they ask for more")
	}
}

// vectorNames are the state components by bit of XCR0.
var vectorNames = []struct {
	mask uint64
	name string
}{{1, "x87"}, {2, "SSE"}, {4, "AVX"}, {0xe0, "AVX-512"}, {0x200, "PKRU"}, {0x60000, "AMX"}}

func (e *examiner) vectors() {
	var have, without []string
	all := uint64(3)
	if cpu.HasXSAVE() {
		all = cpu.XCR0()
	}
	for _, n := range vectorNames {
		if e.host.XCR0&n.mask == n.mask {
			have = append(have, n.name)
		} else if all&n.mask == n.mask {
			without = append(without, n.name)
		}
	}
	e.add(Good, "vector state", "", "%s", strings.Join(have, ", "))
	if len(without) > 0 {
		e.add(Note, "vector state left out", "", "%s: the host has it, payloads don't get it", strings.Join(without, ", "))
	}
}

func (e *examiner) limits() {
	if hostcall.FDBound() == 0 {
		e.add(Missing, "descriptors", "raise the hard limit: ulimit -Hn 1048576", "a hard limit of %d leaves no room for the monitor's own", hostcall.InheritedNofile().Max)
		return
	}
	e.add(Good, "descriptors", "", "%d for the payload, room for %d of the monitor's own above", hostcall.FDBound(), hostcall.FDEnd()-hostcall.FDBound())
}

// probe runs a few instructions in a VM and reports how this host traps.
func (e *examiner) probe() {
	p, err := newProbe(e.host)
	if err != nil {
		e.add(Missing, "a VM", "see the kernel log (dmesg) for KVM's reason", "%v", err)
		return
	}
	if p.pvm {
		e.add(Note, "kind of host", "use a host with VT-x or AMD-V for speed: an exit costs 1–2 µs there", "KVM without VT-x or AMD-V (PVM): CPL 3 runs natively, CPL 0 is emulated")
	} else {
		e.add(Good, "kind of host", "", "VT-x or AMD-V")
	}
	e.add(Good, "SYSCALL", "", "enters the landing pad at CPL %d", map[bool]int{true: 3, false: 0}[p.pvm])
	for _, c := range probes {
		if got := p.vector(c.code, c.flags); got != c.vector {
			e.add(Missing, c.name, "report this host: kmdev doctor's output and the kernel's version", "expected vector %d, got %d", c.vector, got)
		} else {
			e.add(Good, c.name, "", "exits exactly")
		}
	}
	e.add(Note, "debug registers", "", "not used: watchpoints are single-stepped")
	e.add(Good, "one exit", "", "%.1f µs from SYSCALL to the monitor and back", p.exitCost())
}

// probes are instructions and the exceptions they must raise.
var probes = []struct {
	name   string
	code   []byte
	flags  uint64
	vector int
}{
	{"INT3", []byte{0xcc}, 0, 3},
	{"single step", []byte{0x90, 0x90}, flagTF, 1},
	{"undefined instruction", []byte{0x0f, 0x0b}, 0, 6},
	{"write to read-only memory", []byte{0x88, 0x07}, 0, 14},
	{"execute no-execute memory", []byte{0xff, 0xe3}, 0, 14},
	{"access to the landing pad", []byte{0x48, 0xc7, 0xc0, 0, 0, 0, 0x80, 0x8a, 0x00}, 0, 14},
	{"I/O instruction", []byte{0xe6, 0x99}, 0, 13},
}
