package guest_test

import (
	"encoding/binary"
	"runtime"
	"testing"
	"unsafe"

	"kmdev/monitor/guest"
	"kmdev/monitor/kvm"

	"golang.org/x/sys/unix"
)

// rig is a VM with the landing pad, one 2 MiB user page at 4 MiB for code and one at 6 MiB for data.
type rig struct {
	vm  *kvm.VM
	v   *kvm.VCPU
	pad *guest.Pad
	mem []byte
}

const (
	padGPA  = 16 << 20
	codeVA  = 4 << 20
	dataVA  = 6 << 20
	ramSize = padGPA + guest.Size
)

func newRig(t testing.TB, pvm bool) *rig {
	runtime.LockOSThread()
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		t.Fatal(err)
	}
	vm, err := sys.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(-1, 0, ramSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	if err := vm.SetMemory(0, 0, 0, ramSize, uintptr(unsafe.Pointer(&mem[0]))); err != nil {
		t.Fatal(err)
	}
	r := &rig{vm: vm, mem: mem, pad: guest.New(mem[padGPA:], padGPA, pvm)}
	put := func(off int, v uint64) { binary.LittleEndian.PutUint64(mem[off:], v) }
	for i, e := range r.pad.PML4Entries() {
		put(0x1000+8*i, e)
	}
	put(0x1000, 0x2000|7)
	put(0x2000, 0x3000|7)
	put(0x3000+8*2, codeVA|0x65|guest.Large)          // read, execute
	put(0x3000+8*3, dataVA|0x67|guest.Large|guest.NX) // read, write
	if r.v, err = vm.CreateVCPU(0, nil); err != nil {
		t.Fatal(err)
	}
	cpuid, err := sys.SupportedCPUID()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.v.SetCPUID(cpuid); err != nil {
		t.Fatal(err)
	}
	if err := r.v.SetMSRs(r.pad.MSRs()); err != nil {
		t.Fatal(err)
	}
	r.pad.InitVCPU(0)
	var s kvm.Sregs
	if err := r.v.GetSregs(&s); err != nil {
		t.Fatal(err)
	}
	r.pad.InitSregs(&s, 0, 0x1000, 0, 0)
	r.v.Run.Sregs = s
	r.v.Run.ValidRegs = kvm.SyncRegs | kvm.SyncSregs
	return r
}

// enter runs code from the start of the code page until the next exit.
func (r *rig) enter(t testing.TB, code ...byte) *kvm.Run {
	t.Helper()
	copy(r.mem[codeVA:], code)
	run := r.v.Run
	guest.ToUser(&run.Sregs)
	run.Regs = kvm.Regs{Rip: codeVA, Rsp: dataVA + 4096, Rflags: 2, Rax: 39, Rbx: dataVA}
	run.DirtyRegs = kvm.SyncRegs | kvm.SyncSregs
	if e := r.v.Enter(); e != 0 {
		t.Fatalf("KVM_RUN: %v", e)
	}
	return run
}

// pvm finds out what kind of host this is: SYSCALL through the supervisor entry faults where CPL stays 3.
func pvm(t testing.TB) bool {
	r := newRig(t, false)
	run := r.enter(t, 0x0f, 0x05)
	return run.IO().Port != guest.PortHypercall
}

func TestTraps(t *testing.T) {
	isPVM := pvm(t)
	r := newRig(t, isPVM)
	t.Logf("SYSCALL stays at CPL 3: %v", isPVM)

	run := r.enter(t, 0x0f, 0x05)
	if io := run.IO(); run.ExitReason != kvm.ExitIO || io.Port != guest.PortHypercall || r.pad.Where(run.Regs.Rip).Place != guest.AtSyscall || run.Regs.Rcx != codeVA+2 || run.Regs.Rax != 39 {
		t.Fatalf("SYSCALL: exit %d %+v regs %+v", run.ExitReason, io, run.Regs)
	}
	for _, c := range []struct {
		name   string
		code   []byte
		vector int
		rip    uint64
		err    uint64
		cr2    uint64
	}{
		{"ud2", []byte{0x0f, 0x0b}, 6, codeVA, 0, 0},
		{"int3", []byte{0xcc}, 3, codeVA + 1, 0, 0},
		{"write to code", []byte{0x48, 0xc7, 0xc0, 0, 0, 0x40, 0, 0x88, 0x00}, 14, codeVA + 7, 7, codeVA},
		{"execute data", []byte{0xff, 0xe3}, 14, dataVA, 0x15, dataVA},
		{"read unmapped", []byte{0x48, 0xa1, 0, 0, 0x90, 0, 0, 0, 0, 0}, 14, codeVA, 4, 0x900000},
		{"read the landing pad", []byte{0x48, 0xc7, 0xc0, 0, 0, 0, 0x80, 0x8a, 0x00}, 14, codeVA + 7, 4, 0xffffffff80000000},
		{"out", []byte{0xe6, 0x99}, 13, codeVA, 0, 0},
		{"cli", []byte{0xfa}, 13, codeVA, 0, 0},
		{"divide by zero", []byte{0x31, 0xc9, 0xf7, 0xf1}, 0, codeVA + 2, 0, 0},
	} {
		run := r.enter(t, c.code...)
		if run.ExitReason != kvm.ExitIO || int(run.IO().Port) != guest.PortException+c.vector {
			t.Errorf("%s: exit %d port %#x, want vector %d", c.name, run.ExitReason, run.IO().Port, c.vector)
			continue
		}
		f := r.pad.Frame(0, c.vector)
		if f.RIP != c.rip || f.Err != c.err || f.CS != guest.UserCS || f.SS != guest.UserSS || f.RSP != dataVA+4096 {
			t.Errorf("%s: frame %+v, want rip %#x err %#x", c.name, f, c.rip, c.err)
		}
		if c.vector == 14 && run.Sregs.CR2 != c.cr2 {
			t.Errorf("%s: CR2 %#x, want %#x", c.name, run.Sregs.CR2, c.cr2)
		}
	}
	// Hardware finds no gate: #GP. PVM answers every INT n it does not know with #UD; the monitor makes the same of both.
	want := map[bool]int{true: 6, false: 13}[isPVM]
	if run := r.enter(t, 0xcd, 0x99); int(run.IO().Port) != guest.PortException+want || r.pad.Frame(0, want).RIP != codeVA {
		t.Errorf("int 0x99: port %#x frame %+v, want vector %d", run.IO().Port, r.pad.Frame(0, want), want)
	}
}

// TestStep sets TF and expects #DB after one instruction, and what SYSCALL does with TF.
func TestStep(t *testing.T) {
	r := newRig(t, pvm(t))
	copy(r.mem[codeVA:], []byte{0x90, 0x90, 0x0f, 0x05, 0x90})
	run := r.v.Run
	run.Regs = kvm.Regs{Rip: codeVA, Rsp: dataVA + 4096, Rflags: 0x102}
	run.DirtyRegs = kvm.SyncRegs | kvm.SyncSregs
	if e := r.v.Enter(); e != 0 || run.IO().Port != guest.PortException+1 {
		t.Fatalf("step: %v port %#x", e, run.IO().Port)
	}
	if f := r.pad.Frame(0, 1); f.RIP != codeVA+1 || f.RFLAGS&0x100 == 0 {
		t.Fatalf("frame after a step: %+v", f)
	}
	guest.ToUser(&run.Sregs)
	run.Regs = kvm.Regs{Rip: codeVA + 2, Rsp: dataVA + 4096, Rflags: 0x102}
	run.DirtyRegs = kvm.SyncRegs | kvm.SyncSregs
	e := r.v.Enter()
	t.Logf("step over SYSCALL: %v port %#x rip %#x rcx %#x r11 %#x frame %+v", e, run.IO().Port, run.Regs.Rip, run.Regs.Rcx, run.Regs.R11, r.pad.Frame(0, 1))
	if run.IO().Port != guest.PortHypercall || run.Regs.R11&0x100 == 0 {
		t.Fatalf("SYSCALL with TF did not come as a hypercall with TF in R11")
	}
}

func benchExit(b *testing.B, valid uint64, resume func(run *kvm.Run)) {
	r := newRig(b, pvm(b))
	r.enter(b, 0x0f, 0x05, 0xeb, 0xfc)
	run := r.v.Run
	run.ValidRegs = valid
	if valid == 0 {
		b.Skip()
	}
	for b.Loop() {
		resume(run)
		e := r.v.Enter()
		for e == unix.EINTR { // Go's preemption signal, which the monitor keeps blocked
			e = r.v.Enter()
		}
		if e != 0 || run.IO().Port != guest.PortHypercall {
			b.Fatalf("%v exit %d port %#x", e, run.ExitReason, run.IO().Port)
		}
	}
}

func toUser(run *kvm.Run) {
	run.Regs.Rip, run.Regs.Rflags = run.Regs.Rcx, run.Regs.R11
	run.Regs.Rax = 1
	run.DirtyRegs = kvm.SyncRegs
}

// The hypercall floor with the registers that travel.
func BenchmarkHypercallRegs(b *testing.B) { benchExit(b, kvm.SyncRegs, toUser) }
func BenchmarkHypercallRegsSregs(b *testing.B) {
	benchExit(b, kvm.SyncRegs|kvm.SyncSregs, toUser)
}
func BenchmarkHypercallAllDirty(b *testing.B) {
	benchExit(b, kvm.SyncRegs|kvm.SyncSregs, func(run *kvm.Run) {
		toUser(run)
		guest.ToUser(&run.Sregs)
		run.DirtyRegs = kvm.SyncRegs | kvm.SyncSregs
	})
}
