package monitor

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/guest"
	"kmdev/monitor/kvm"
)

// probe is a VM of one vCPU with the landing pad, a read-only executable large page of code and a writable one of data:
// enough to see how this host traps. For kmdev doctor.
type probe struct {
	v   *kvm.VCPU
	pad *guest.Pad
	mem []byte
	pvm bool
}

// The probe's guest-physical layout; payload addresses are the same.
const (
	probeTables = 0x1000
	probeCode   = 4 << 20
	probeData   = 6 << 20
	probePad    = 16 << 20
	probeTouch  = 64 << 20 // guest-physical and virtual: memory that nobody has touched
	touchPages  = 8192
	probeSize   = probeTouch + touchPages*4096
)

// newProbe makes the VM and finds out where SYSCALL enters.
func newProbe(h *Host) (*probe, error) {
	p := &probe{pvm: h.PVM}
	if err := p.build(h); err != nil {
		return nil, err
	}
	io, err := p.enter([]byte{0x0f, 0x05}, 0)
	if err != nil {
		return nil, err
	}
	if io == guest.PortHypercall && (p.v.Run.Sregs.CS.DPL == 3) == p.pvm {
		return p, nil
	}
	p.pvm = !p.pvm
	if err := p.build(h); err != nil {
		return nil, err
	}
	if io, err = p.enter([]byte{0x0f, 0x05}, 0); err != nil {
		return nil, err
	}
	if io != guest.PortHypercall {
		return nil, fmt.Errorf("SYSCALL does not reach the landing pad: exit %d, port %#x", p.v.Run.ExitReason, io)
	}
	return p, nil
}

func (p *probe) build(h *Host) (err error) {
	vm, err := h.Sys.CreateVM()
	if err != nil {
		return err
	}
	p.mem, err = unix.Mmap(-1, 0, probeSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	if err := vm.SetMemory(0, 0, 0, probeSize, uintptr(unsafe.Pointer(&p.mem[0]))); err != nil {
		return err
	}
	unix.Madvise(p.mem, unix.MADV_NOHUGEPAGE)
	p.pad = guest.New(p.mem[probePad:probePad+guest.Size], probePad, p.pvm)
	p.tables()
	if p.v, err = vm.CreateVCPU(0, nil); err != nil {
		return err
	}
	p.pad.InitVCPU(0)
	if err := p.v.SetCPUID(h.CPUID); err != nil {
		return err
	}
	if err := p.v.SetXCR0(h.XCR0); err != nil {
		return err
	}
	if err := p.v.SetMSRs(p.pad.MSRs()); err != nil {
		return err
	}
	run := p.v.Run
	p.pad.InitSregs(&run.Sregs, 0, probeTables, 0, 0)
	run.Sregs.APICBase = apicBase | apicBaseBSP
	run.ValidRegs = kvm.SyncRegs | kvm.SyncSregs
	return nil
}

func (p *probe) tables() {
	put := func(off int, v uint64) { binary.LittleEndian.PutUint64(p.mem[off:], v) }
	for i, e := range p.pad.PML4Entries() {
		put(probeTables+8*i, e)
	}
	const dir = guest.Present | guest.Writable | guest.User | guest.Accessed
	put(probeTables, 0x2000|dir)
	put(0x2000, 0x3000|dir)
	put(0x3000+8*2, probeCode|dir&^guest.Writable|guest.Dirty|guest.Large)
	put(0x3000+8*3, probeData|dir|guest.Dirty|guest.Large|guest.NX)
	for i := probeTouch / largePage; i < probeSize/largePage; i++ {
		put(0x3000+8*i, uint64(i)*largePage|dir|guest.Dirty|guest.Large|guest.NX)
	}
}

const largePage = 2 << 20

// enter runs code until the next exit and gives the port it went out by, -1 if by no OUT.
func (p *probe) enter(code []byte, flags uint64) (int, error) {
	copy(p.mem[probeCode:], append(code, 0x0f, 0x0b))
	run := p.v.Run
	guest.ToUser(&run.Sregs)
	run.Regs = kvm.Regs{Rip: probeCode, Rsp: probeData + 4096, Rflags: 2 | flags, Rbx: probeData, Rdi: probeCode}
	run.DirtyRegs = kvm.SyncRegs | kvm.SyncSregs
	return p.goOn()
}

func (p *probe) goOn() (int, error) {
	for {
		e := p.v.Enter()
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, fmt.Errorf("KVM_RUN: %w", e)
		}
		if p.v.Run.ExitReason != kvm.ExitIO {
			return -1, nil
		}
		return int(p.v.Run.IO().Port), nil
	}
}

// vector gives the exception that code raises, -1 if none came.
func (p *probe) vector(code []byte, flags uint64) int {
	port, err := p.enter(code, flags)
	if err != nil || port < guest.PortException || port >= guest.PortException+guest.Vectors {
		return -1
	}
	return port - guest.PortException
}

// touchCost measures the guest's first touch of a page that the host has not got either, in microseconds: KVM's own
// fault on demand. Once per probe.
func (p *probe) touchCost() float64 {
	// mov $probeTouch, %edi ; mov $touchPages, %ecx ; 1: movb $1, (%rdi) ; add $4096, %rdi ; dec %ecx ; jnz 1b ; ud2
	code := []byte{0xbf, 0, 0, 0, 0, 0xb9, 0, 0, 0, 0, 0xc6, 0x07, 0x01, 0x48, 0x81, 0xc7, 0x00, 0x10, 0, 0, 0xff, 0xc9, 0x75, 0xf2}
	binary.LittleEndian.PutUint32(code[1:], probeTouch)
	binary.LittleEndian.PutUint32(code[6:], touchPages)
	start := time.Now()
	if _, err := p.enter(code, 0); err != nil {
		return -1
	}
	return float64(time.Since(start).Nanoseconds()) / touchPages / 1000
}

// Floor is what this host's KVM costs with no monitor around it: the measure of everything that kmdev does.
type Floor struct {
	Hypercall float64 // SYSCALL, OUT, back; microseconds
	Touch     float64 // first touch of a 4 KiB page that KVM faults in; microseconds

	runs uint64 // KVM_RUN calls of the measurement itself
}

// MeasureFloor runs bare loops in a VM of their own. It takes some tens of milliseconds. On a locked thread.
func MeasureFloor(h *Host) (Floor, error) {
	p, err := newProbe(h)
	if err != nil {
		return Floor{}, err
	}
	before, _ := kvm.Counters()
	f := Floor{Hypercall: p.exitCost(), Touch: p.touchCost()}
	after, _ := kvm.Counters()
	f.runs = after - before
	return f, nil
}

// exitCost measures a SYSCALL's way to the monitor and back, in microseconds: the mean, as a payload sees it.
func (p *probe) exitCost() float64 {
	const calls = 2500
	if _, err := p.enter([]byte{0x0f, 0x05, 0xeb, 0xfc}, 0); err != nil {
		return -1
	}
	run := p.v.Run
	start := time.Now()
	for range calls {
		if p.pvm {
			run.Regs.Rip, run.Regs.Rflags = run.Regs.Rcx, run.Regs.R11
		}
		run.DirtyRegs = kvm.SyncRegs
		if _, err := p.goOn(); err != nil {
			return -1
		}
	}
	return float64(time.Since(start).Nanoseconds()) / calls / 1000
}
