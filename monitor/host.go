package monitor

import (
	"errors"
	"fmt"
	"os"

	"kmdev/monitor/cpu"
	"kmdev/monitor/kvm"

	"golang.org/x/sys/unix"
)

// Host is what the host's KVM offers, found out with as few calls as possible: it is on every payload's way to its first
// instruction.
type Host struct {
	Device string
	Sys    *kvm.System
	CPUID  []kvm.CPUIDEntry // for KVM_SET_CPUID2
	XCR0   uint64           // state components the payload may use
	// PVM: KVM without VT-x or AMD-V, where SYSCALL stays at CPL 3. A guess until the first SYSCALL proves it; see
	// Machine.switchEntry.
	PVM      bool
	Slots    int // memory slots a VM may have
	PhysBits int // width of a guest-physical address
}

// xcr0Mask are the components kmdev hands on: x87, SSE, AVX, AVX-512, PKRU. AMX tiles need a permission per process
// (arch_prctl(2), ARCH_REQ_XCOMP_GUEST_PERM) and MPX is gone.
const xcr0Mask = 0x7 | 0xe0 | 0x200

// CPUID leaves and bits looked at by number; Intel SDM vol. 2A, CPUID.
const (
	leafFeatures    = 1
	leafStructured  = 7
	leafXstate      = 0xd
	leafAddressSize = 0x80000008

	ecxXSAVE    = 1 << 26
	ecxOSXSAVE  = 1 << 27
	ebxFSGSBASE = 1 << 0
)

// requirement is a capability without which no payload can run.
type requirement struct {
	cap  int
	name string
	why  string
}

var required = []requirement{
	{kvm.CapUserMemory, "KVM_CAP_USER_MEMORY", "memory slots"},
	{kvm.CapSyncRegs, "KVM_CAP_SYNC_REGS", "registers through the run page; it needs Linux 4.17 or newer"},
	{kvm.CapImmediateExit, "KVM_CAP_IMMEDIATE_EXIT", "stopping a vCPU without a race; it needs Linux 4.13 or newer"},
	{kvm.CapXsave, "KVM_CAP_XSAVE", "vector registers"},
	{kvm.CapXCRs, "KVM_CAP_XCRS", "vector registers"},
	{kvm.CapReadonlyMem, "KVM_CAP_READONLY_MEM", "the vDSO's data pages"},
}

// OpenHost opens the KVM device at path. Its error says what to do.
func OpenHost(path string) (*Host, error) {
	sys, err := kvm.Open(path)
	if err != nil {
		return nil, explainOpen(path, err)
	}
	h := &Host{Device: path, Sys: sys}
	if err := h.read(); err != nil {
		sys.Close()
		return nil, err
	}
	return h, nil
}

func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s does not exist: load the kvm module (modprobe kvm_intel or kvm_amd), switch virtualization on in the firmware, or name the device with --virt-device", path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to open %s: add yourself to its group (usermod -aG kvm $USER, then log in again)", path)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s is there but the kernel has no KVM behind it: load kvm_intel or kvm_amd (dmesg says why it did not)", path)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("cannot open %s: %w: raise ulimit -n", path, err)
	}
	return fmt.Errorf("cannot use %s: %w", path, err)
}

func (h *Host) read() error {
	for _, r := range required {
		if h.Sys.Check(r.cap) == 0 {
			return fmt.Errorf("the KVM behind %s lacks %s (%s)", h.Device, r.name, r.why)
		}
	}
	h.Slots = h.Sys.Check(kvm.CapNrMemslots)
	table, err := h.Sys.SupportedCPUID()
	if err != nil {
		return err
	}
	h.CPUID = table
	h.PhysBits = 36
	for i := range table {
		if e := &table[i]; e.Function == leafAddressSize {
			h.PhysBits = int(e.Eax & 0xff)
		}
	}
	h.XCR0 = 1
	if cpu.HasXSAVE() {
		h.XCR0 = cpu.XCR0() & xcr0Mask
	}
	h.PVM = !h.hasXsave()
	if h.PVM {
		h.addHidden()
	}
	return nil
}

// hasXsave tells whether KVM_GET_SUPPORTED_CPUID shows XSAVE. On a host that has it, KVM over VT-x or AMD-V always does, and
// KVM without them hides it.
func (h *Host) hasXsave() bool {
	for _, e := range h.CPUID {
		if e.Function == leafFeatures {
			return e.Ecx&ecxXSAVE != 0
		}
	}
	return false
}

// addHidden completes the table of a PVM host: CPL 3 runs natively and CPUID there shows the host's features whatever the
// table says, but KVM checks CR4.FSGSBASE, CR4.OSXSAVE and XCR0 against it. Asking the CPU itself would cost 54 µs a leaf.
func (h *Host) addHidden() {
	has7, hasD := false, false
	for i := range h.CPUID {
		switch e := &h.CPUID[i]; {
		case e.Function == leafFeatures:
			e.Ecx |= ecxXSAVE | ecxOSXSAVE
		case e.Function == leafStructured && e.Index == 0:
			e.Ebx |= ebxFSGSBASE
			has7 = true
		case e.Function == leafXstate && e.Index == 0:
			e.Eax |= uint32(h.XCR0)
			hasD = true
		}
	}
	if !has7 {
		h.CPUID = append(h.CPUID, kvm.CPUIDEntry{Function: leafStructured, Flags: kvm.CPUIDSignificantIndex, Ebx: ebxFSGSBASE})
	}
	if !hasD {
		// KVM works the sizes and offsets out itself (cpuid.c, __kvm_update_cpuid_runtime); it takes only XCR0 from here.
		h.CPUID = append(h.CPUID, kvm.CPUIDEntry{Function: leafXstate, Flags: kvm.CPUIDSignificantIndex, Eax: uint32(h.XCR0)})
	}
}
