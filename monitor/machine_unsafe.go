package monitor

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"kmdev/monitor/confine"
	"kmdev/monitor/cpu"
	"kmdev/monitor/guest"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/loader"
	"kmdev/monitor/memory"
	"kmdev/monitor/signal"

	"golang.org/x/sys/unix"
)

// Machine is one payload process and its VM.
type Machine struct {
	host *Host
	vm   *kvm.VM
	pad  *guest.Pad
	// tables is memory for the first page tables.
	tables []byte
	as     *memory.AddressSpace
	fds    *fdTable
	limits limits
	log    *slog.Logger
	opts   Options

	actions *signal.Actions
	program *loader.Program // nil in a forked child
	given   *inheritance    // nil in a process that was started by hand
	args    []string        // argv
	start   loader.Start
	pid     int
	exe     string
	floor   Floor
	statsFD int
	// parentFD is a pidfd of the process that the tree dies with, or -1.
	parentFD int
	exeFD    int
	told     bool            // the host knows where the payload's arguments are: tellHost
	selfFD   int             // the monitor's own binary
	vdso     loader.HostVDSO // of the monitor's own process; zero if it was not looked for or can't be used

	vfork   *hostcall.Vfork // this is a vfork child; see Thread.vfork
	vforked *Thread         // its thread

	maxVCPUs  int
	firstVCPU chan error // makeVM's last word
	ownTSC    bool       // a vCPU's TSC could not be made the host's; valid after firstVCPU

	// personality is personality(2)'s; only ADDR_NO_RANDOMIZE has meaning here.
	personality atomic.Uint64

	mu      sync.Mutex
	vcpus   int             // made so far
	idle    []*vcpu         // of threads that have exited
	threads map[int]*Thread // by tid
	order   []*Thread       // as created
	running int             // threads alive; the last one to exit ends the process

	noted   map[string]bool            // Notef's formats
	warned  map[uint64]bool            // refused hypercalls that were logged
	joining sync.Mutex                 // TreeFD, JoinTree
	tree    atomic.Pointer[membership] // nil: this process is alone

	xstateOnce func() *cpu.XState

	debug debugger
}

// Options says how a payload is run.
type Options struct {
	Path string   // of the payload, as execve(2) takes it
	Args []string // argv, argv[0] included
	Env  []string

	Device string // KVM device, /dev/kvm if empty
	Log    *slog.Logger
	// LogFD and LogLevel are what Log writes to and how much, for the monitors of children and executed programs.
	LogFD    int
	LogLevel slog.Level

	// AbortUnimplemented ends the payload at a refused hypercall instead of giving it the errno (KM's behaviour).
	AbortUnimplemented bool
	// Uname overrides fields of uname(2), by name: sysname, nodename, release, version, machine, domainname.
	Uname map[string]string
	// NoASLR is personality(2)'s ADDR_NO_RANDOMIZE.
	NoASLR bool
	// Stats is where a line of counters goes at the end: a file, "-" for standard error, "" for nowhere.
	Stats string
	// Floor measures the bare host first, in this process, for the line of counters.
	Floor bool
	// DieWithParent ends every process of the tree when this process's parent ends.
	DieWithParent bool
	// NoSeccomp leaves the monitor without its system call filter.
	NoSeccomp bool
	// Wait keeps the first thread parked before its first instruction until a debugger resumes it.
	Wait bool
}

// physBase is where guest-physical addresses for payload memory start: above the local APIC's page and the pages that
// KVM keeps for itself below 4 GiB on Intel hosts.
const physBase = 4 << 30

// otherFDs is how many descriptors the monitor needs besides its vCPUs'.
const otherFDs = 16

// firstAny is the number of the first memory slot that the address space may use.
const firstAny = 1

// The first slot holds the landing pad and, behind it, the first page tables.
var (
	_ [kvm.SecondPart - guest.Size]struct{}
	_ [guest.Size - kvm.SecondPart]struct{}
	_ [kvm.FirstSize - guest.Size - memory.TablesSize]struct{}
	_ [memory.TablesSize + guest.Size - kvm.FirstSize]struct{}
)

// New validates the payload and makes its VM. The payload has not run yet; nothing was mapped if New fails. On the main
// thread, after hostcall.Init.
func New(o Options) (*Machine, error) {
	if o.Device == "" {
		o.Device = "/dev/kvm"
	}
	early := kvm.MadeEarly(o.Device) // its thread needs RLIMIT_NOFILE as the entry has left it
	fds, err := newFDTable()
	if err != nil {
		return nil, err
	}
	m := &Machine{opts: o, log: o.Log, fds: fds, pid: os.Getpid(), statsFD: -1, parentFD: -1,
		actions: signal.NewActions(inheritedActions()), threads: map[int]*Thread{}}
	m.limits.init()
	if o.NoASLR {
		m.personality.Store(addrNoRandomize)
	}
	hardware := m.startHardware(early)
	if !o.NoSeccomp { // beside KVM's work, and before the first byte of the payload's file is looked at
		if err := confine.Install(); err != nil {
			return nil, err
		}
	}
	if m.program, err = loader.Open(o.Path, o.Args, o.Env, loader.Options{NoRandomize: o.NoASLR}); err != nil {
		return nil, err
	}
	if err := m.keepSelf(); err != nil {
		return nil, err
	}
	if err := m.keepStats(o.Stats); err != nil {
		return nil, err
	}
	if o.DieWithParent {
		if err := m.openParent(); err != nil {
			return nil, err
		}
	}
	return m, m.finish(hardware)
}

// finish is the common end of New and Resume.
func (m *Machine) finish(hardware <-chan error) error {
	registerHandlers()
	if m.program != nil {
		m.args = m.program.Argv
		if err := m.keepExe(); err != nil {
			return err
		}
	}
	if err := <-hardware; err != nil {
		return err
	}
	m.watchParent()
	m.xstateOnce = sync.OnceValue(func() *cpu.XState { return cpu.NewXState(m.host.XCR0) })
	return m.finishSpace()
}

func (m *Machine) finishSpace() (err error) {
	o := &m.opts
	if o.Floor {
		if m.floor, err = MeasureFloor(m.host); err != nil {
			return err
		}
	}
	return m.makeSpace()
}

// startHardware opens the device and makes the VM: beside the caller, who has files to wait for, unless most of it was made
// early.
// The VM's error, or nil, comes through the channel when it is there; the first vCPU's through m.firstVCPU.
func (m *Machine) startHardware(early bool) <-chan error {
	made := make(chan error, 1)
	m.firstVCPU = make(chan error, 1)
	start := func() {
		if err := m.makeVM(); err != nil {
			made <- err
			return
		}
		made <- nil
		m.mu.Lock()
		v, err := m.newVCPU()
		if err == nil {
			m.idle = append(m.idle, v)
		}
		m.mu.Unlock()
		m.firstVCPU <- err
	}
	if early {
		start()
	} else {
		go start()
	}
	return made
}

func (m *Machine) makeVM() (err error) {
	if m.host == nil {
		if m.host, err = OpenHost(m.opts.Device); err != nil {
			return err
		}
		if m.host.Sys.FD, err = m.fds.keepAt(m.host.Sys.FD, hostcall.FDEnd()-kvm.SystemFD); err != nil {
			return err
		}
	}
	if m.vm, err = m.host.Sys.CreateVM(); err != nil {
		return err
	}
	if m.vm.FD, err = m.fds.Relocate(m.vm.FD); err != nil {
		return err
	}
	m.maxVCPUs = min(guest.MaxVCPUs, max(m.host.Sys.Check(kvm.CapMaxVCPUs), 1), m.fds.most()-otherFDs)
	return m.mapPad()
}

func (m *Machine) makeSpace() (err error) {
	m.as, err = memory.New(memory.Config{
		Slots: m.vm, FirstSlot: firstAny, MaxSlots: m.host.Slots,
		PhysBase: physBase, PhysBits: m.host.PhysBits, NoASLR: m.noRandomize(),
		Relocate: m.fds.Relocate, Limit: m.limits.soft,
		Tables: m.tables, TablesGPA: kvm.FirstGPA + guest.Size,
	})
	if err != nil {
		return err
	}
	for i, e := range m.pad.PML4Entries() {
		m.as.SetKernelEntry(i, e)
	}
	return nil
}

func (m *Machine) mapPad() error {
	mem, err := m.vm.FirstSlot()
	if err != nil {
		return fmt.Errorf("mapping the landing pad: %w", err)
	}
	// A fork would make it copy-on-write, in this process too.
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		return fmt.Errorf("mapping the landing pad: %w", err)
	}
	m.pad = guest.New(mem[:guest.Size], kvm.FirstGPA, m.host.PVM)
	m.tables = mem[guest.Size:]
	return nil
}

// inheritedActions are the dispositions that execve carries over: what was ignored stays ignored.
func inheritedActions() signal.Table {
	var t signal.Table
	for _, sig := range signal.Set(hostcall.InheritedIgnored()).Signals() {
		t[sig-1].Handler = signal.SigIgn
	}
	return t
}
