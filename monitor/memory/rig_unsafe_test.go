package memory

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"kmdev/monitor/guest"
	"kmdev/monitor/kvm"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// rig is an address space with a real VM over it.
type rig struct {
	t    testing.TB
	sys  *kvm.System
	vm   *kvm.VM
	pad  *guest.Pad
	as   *AddressSpace
	host []byte
	cpus int
	mu   sync.Mutex
}

const (
	rigPadGPA = 16 << 20
	rigCode   = 0x10000 // payload address of the code that vCPUs run
)

// Code fragments, each ended by INT3. RAX is the address they act on.
var rigText = []struct {
	name string
	code []byte
}{
	{"load", []byte{0x8a, 0x18, 0xcc}},                                            // mov bl, [rax]
	{"store", []byte{0x88, 0x18, 0xcc}},                                           // mov [rax], bl
	{"call", []byte{0xff, 0xd0, 0xcc}},                                            // call rax
	{"sweep", []byte{0x88, 0x18, 0x48, 0x01, 0xd0, 0xff, 0xc9, 0x75, 0xf7, 0xcc}}, // do { *rax = bl; rax += rdx } while (--ecx)
	{"count", []byte{0xf0, 0x48, 0xff, 0x00, 0xeb, 0xfa}},                         // for (;;) atomic ++*(uint64 *)rax
	{"spin", []byte{0x8a, 0x18, 0xff, 0xd2, 0xeb, 0xfa}},                          // for (;;) { bl = *rax; rdx() }
	{"bump", []byte{0x00, 0x18, 0x48, 0x01, 0xd0, 0xff, 0xc9, 0x75, 0xf7, 0xcc}},  // do { *rax += bl; rax += rdx } while (--ecx)
	{"sum", []byte{0x02, 0x18, 0x48, 0x01, 0xd0, 0xff, 0xc9, 0x75, 0xf7, 0xcc}},   // do { bl += *rax; rax += rdx } while (--ecx)
}

func text(name string) uint64 {
	for i := range rigText {
		if rigText[i].name == name {
			return rigCode + uint64(i)*64
		}
	}
	panic("no code " + name)
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		t.Fatal(err)
	}
	vm, err := sys.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, sys: sys, vm: vm}
	r.host, err = unix.Mmap(-1, 0, guest.Size, rw, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.SetMemory(0, 0, rigPadGPA, guest.Size, uintptr(unsafe.Pointer(&r.host[0]))); err != nil {
		t.Fatal(err)
	}
	r.pad = guest.New(r.host, rigPadGPA, true)
	c := Config{Slots: vm, FirstSlot: 1, MaxSlots: sys.Check(kvm.CapNrMemslots), PhysBase: 4 << 30, PhysBits: 39, NoASLR: true}
	for _, g := range change {
		g(&c)
	}
	if r.as, err = New(c); err != nil {
		t.Fatal(err)
	}
	for i, e := range r.pad.PML4Entries() {
		r.as.SetKernelEntry(i, e)
	}
	r.as.mustMap(t, rigCode, pageSize, rw, private|fixed)
	for i := range rigText {
		if e := usermem.CopyOut(rigCode+uint64(i)*64, rigText[i].code); e != 0 {
			t.Fatal(e)
		}
	}
	if e := errno(r.as.Mprotect(rigCode, pageSize, rx)); e != 0 {
		t.Fatal(e)
	}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	if r.vm == nil {
		return
	}
	unix.Close(r.vm.FD)
	r.sys.Close()
	r.as.Close()
	unix.Munmap(r.host)
	r.vm = nil
}

// cpu is a vCPU for the calling goroutine, which it locks to its thread, with a stack of one page.
type cpu struct {
	*kvm.VCPU
	r     *rig
	id    int
	stack uint64

	exits int // KVM_RUN that came back
}

func (r *rig) cpu() *cpu {
	runtime.LockOSThread()
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &cpu{r: r, id: r.cpus}
	r.cpus++
	v, err := r.vm.CreateVCPU(c.id, nil)
	if err != nil {
		panic(err)
	}
	c.VCPU = v
	ids, err := r.sys.SupportedCPUID()
	if err != nil {
		panic(err)
	}
	if err := v.SetCPUID(ids); err != nil {
		panic(err)
	}
	if err := v.SetMSRs(r.pad.MSRs()); err != nil {
		panic(err)
	}
	r.pad.InitVCPU(c.id)
	var s kvm.Sregs
	if err := v.GetSregs(&s); err != nil {
		panic(err)
	}
	r.pad.InitSregs(&s, c.id, r.as.CR3(), 0, 0)
	s.CR4 &^= 1<<16 | 1<<18 // what the CPUID table above lacks
	v.Run.Sregs = s
	v.Run.ValidRegs = kvm.SyncRegs | kvm.SyncSregs
	c.stack = r.as.mustMap(r.t, 0, pageSize, rw, private)
	return c
}

// outcome is how a code fragment ended: at its INT3 (zero), or by a signal.
type outcome = FaultResult

// run runs a code fragment at CPL 3 and serves its page faults.
func (c *cpu) run(code string, regs kvm.Regs) (outcome, kvm.Regs) {
	run := c.Run
	regs.Rip, regs.Rsp, regs.Rflags = text(code), c.stack+pageSize-64, 2
	for {
		guest.ToUser(&run.Sregs)
		run.Regs = regs
		run.DirtyRegs = kvm.SyncRegs | kvm.SyncSregs
		gen := c.r.as.Generation()
		e := c.Enter()
		c.exits++
		if e == unix.EINTR || e == unix.EAGAIN {
			regs = run.Regs
			continue
		}
		if e == unix.EFAULT {
			regs = run.Regs
			if !c.r.as.Revalidate(gen) {
				panic(fmt.Sprintf("KVM_RUN: EFAULT for good at rip %#x rax %#x exit %d %x", regs.Rip, regs.Rax, run.ExitReason, run.Exit[:3]))
			}
			continue
		}
		if e != 0 || run.ExitReason != kvm.ExitIO {
			panic(fmt.Sprintf("KVM_RUN: %v exit %d %x regs %+v", e, run.ExitReason, run.Exit[:4], run.Regs))
		}
		vector := int(run.IO().Port) - guest.PortException
		f := c.r.pad.Frame(c.id, vector)
		regs = run.Regs
		regs.Rip, regs.Rsp, regs.Rflags = f.RIP, f.RSP, f.RFLAGS
		switch vector {
		case 3:
			return outcome{}, regs
		case 14:
			if res := c.r.as.Fault(run.Sregs.CR2, f.Err, f.RSP); !res.Resolved() {
				return res, regs
			}
		default:
			panic(fmt.Sprintf("exception %d at %#x", vector, f.RIP))
		}
	}
}

func (c *cpu) load(addr uint64) (byte, outcome) {
	o, regs := c.run("load", kvm.Regs{Rax: addr})
	return byte(regs.Rbx), o
}

func (c *cpu) store(addr uint64, b byte) outcome {
	o, _ := c.run("store", kvm.Regs{Rax: addr, Rbx: uint64(b)})
	return o
}

func (c *cpu) call(addr uint64) outcome {
	o, _ := c.run("call", kvm.Regs{Rax: addr})
	return o
}

// sweep writes one byte every step bytes.
func (c *cpu) sweep(addr, step, n uint64) outcome {
	o, _ := c.run("sweep", kvm.Regs{Rax: addr, Rbx: 1, Rcx: n, Rdx: step})
	return o
}
