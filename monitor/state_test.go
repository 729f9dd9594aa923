package monitor

import (
	"log/slog"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/handover"
	"kmdev/monitor/kvm"
	"kmdev/monitor/loader"
	"kmdev/monitor/memory"
	"kmdev/monitor/signal"
)

// sample is a state with something everywhere.
func sample(forked bool) *inheritance {
	in := &inheritance{forked: forked, limit: unix.Rlimit{Cur: 100, Max: 200}, tree: 40001, told: forked, personality: addrNoRandomize,
		confined: &confinement{strict: true}, selfFD: 40002, statsFD: -1, parentFD: -1, pidsLimit: 77, birth: birth{40003, -1}}
	in.opts = Options{Device: "/dev/kvm", LogFD: 40004, LogLevel: slog.LevelDebug, AbortUnimplemented: true, Uname: map[string]string{"sysname": "Plan 9"}}
	in.host = Host{Device: "/dev/kvm", Sys: &kvm.System{}, XCR0: 0xe7, PVM: true, Slots: 32764, PhysBits: 46,
		CPUID: []kvm.CPUIDEntry{{Function: 7, Index: 1, Flags: 1, Eax: 2, Ebx: 3, Ecx: 4, Edx: 5}}}
	in.actions[1] = signal.Action{Handler: signal.SigIgn}
	in.sig = signal.Snapshot{Blocked: 5, Alt: signal.AltStack{Base: 4096, Size: 8192}, Trap: signal.Trap{Number: 14, Err: 6, CR2: 8}}
	for i := range in.limits {
		in.limits[i] = unix.Rlimit{Cur: uint64(i), Max: uint64(i + 1)}
	}
	if !forked {
		in.program = loader.Handed{Filename: "./script", Exe: "/bin/sh", Exec: 40005, Interp: -1}
		return in
	}
	in.child = childState{args: []string{"a", "", "b"}, exe: "/bin/a", exeFD: 40006, fs: 1, gs: 2, xsave: []byte{1, 2, 3}, clearTID: 4,
		rseq: rseqArea{addr: 32, size: 32, sig: 9, cpu: -1}, hidden: []hiddenByte{{1, 2}}, vdso: loader.HostVDSO{VvarStart: 1, VvarSize: 2},
		memory: memory.State{StackTop: 1, Brk: 2, Future: memory.Locked, VMAs: []memory.VMA{
			{Start: 4096, End: 8192, Prot: unix.PROT_READ, Flags: memory.File | memory.Shared, Offset: 7, Dev: 8, Ino: 9, Name: "/lib/x", Object: 1, Extent: 2, Page: 3, Host: 5, Advised: true}}}}
	in.child.regs.Rip, in.child.regs.R15 = 0x1234, 0xffff_ffff_ffff_ffff
	in.child.start.Entry = 77
	return in
}

// TestState: what one monitor writes the next reads; cut short anywhere, it is an error.
func TestState(t *testing.T) {
	for _, forked := range []bool{false, true} {
		want := sample(forked)
		var w handover.Writer
		want.write(&w)
		got := &inheritance{}
		r := handover.NewReader(w.Bytes())
		got.read(r)
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		got.host.Sys = want.host.Sys // its descriptor's number is the reader's own
		got.early = want.early
		got.child.start, want.child.start = loader.Start{Entry: got.child.start.Entry}, loader.Start{Entry: want.child.start.Entry}
		if !forked { // an empty list is no list
			got.child, want.child = childState{}, childState{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("forked %v:\ngot  %+v\nwant %+v", forked, got, want)
		}
		for n := 0; n < len(w.Bytes()); n += 5 {
			r := handover.NewReader(w.Bytes()[:n])
			new(inheritance).read(r)
			if r.End() == nil {
				t.Errorf("forked %v: cut at %d of %d, and no error", forked, n, len(w.Bytes()))
			}
		}
	}
}
