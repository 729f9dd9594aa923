package kvm

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl numbers of <linux/kvm.h>; the size field is that of the structure the call carries.
const (
	ioGetAPIVersion     = 0xAE00
	ioCreateVM          = 0xAE01
	ioCheckExtension    = 0xAE03
	ioGetVCPUMmapSize   = 0xAE04
	ioGetSupportedCPUID = 0xC008AE05
	ioCreateVCPU        = 0xAE41
	ioSetMemory         = 0x4020AE46
	ioSetTSSAddr        = 0xAE47
	ioRun               = 0xAE80
	ioGetRegs           = 0x8090AE81
	ioSetRegs           = 0x4090AE82
	ioGetSregs          = 0x8138AE83
	ioSetSregs          = 0x4138AE84
	ioGetMSRs           = 0xC008AE88
	ioSetMSRs           = 0x4008AE89
	ioSetSignalMask     = 0x4004AE8B
	ioSetCPUID2         = 0x4008AE90
	ioGetXsave          = 0x9000AEA4
	ioSetXsave          = 0x5000AEA5
	ioGetXsave2         = 0x9000AECF
	ioSetXCRs           = 0x4188AEA7
	ioSetDeviceAttr     = 0x4018AEE1
)

// RunRequest is KVM_RUN's request number, for who makes that call himself.
const RunRequest = ioRun

// Capabilities (api.rst §6, §8), for Check.
const (
	CapUserMemory       = 3
	CapSetTSSAddr       = 4
	CapNrVCPUs          = 9
	CapNrMemslots       = 10
	CapXsave            = 55
	CapXCRs             = 56
	CapMaxVCPUs         = 66
	CapTSCDeadlineTimer = 72
	CapSyncRegs         = 74
	CapReadonlyMem      = 81
	CapMaxVCPUID        = 128
	CapImmediateExit    = 136
	CapXsave2           = 208
	CapMemoryFaultInfo  = 232
	CapCheckExtensionVM = 105
	CapSetGuestDebug    = 23
	CapDebugRegs        = 50
)

// ioctls counts the vCPU ioctls other than KVM_RUN that this process made. On a host without VT-x each costs as much as
// a tenth of an exit, so a test holds the hypercall path to none.
var ioctls, runs atomic.Uint64

// Counters tells how many KVM_RUN and how many other vCPU ioctls the process has made.
func Counters() (run, other uint64) { return runs.Load(), ioctls.Load() }

func ioctl(fd int, req, arg uintptr) (int, error) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, arg)
	if e != 0 {
		return int(r), e
	}
	return int(r), nil
}

func ioctlPtr(fd int, req uintptr, p unsafe.Pointer) (int, error) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(p))
	if e != 0 {
		return int(r), e
	}
	return int(r), nil
}

// System is an open /dev/kvm.
type System struct {
	FD       int
	mmapSize int
	early    bool // see EarlyCalls
}

const apiVersion = 12

// Open opens the device (normally /dev/kvm) and checks that it speaks API version 12, the only stable one (§4.1).
func Open(path string) (*System, error) {
	if s := openEarly(path); s != nil {
		return s, nil
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	s := &System{FD: fd}
	v, err := ioctl(fd, ioGetAPIVersion, 0)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s is not a KVM device (KVM_GET_API_VERSION: %w)", path, err)
	}
	if v != apiVersion {
		unix.Close(fd)
		return nil, fmt.Errorf("%s speaks KVM API version %d; kmdev needs %d", path, v, apiVersion)
	}
	if s.mmapSize, err = ioctl(fd, ioGetVCPUMmapSize, 0); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE: %w", err)
	}
	return s, nil
}

// MmapSize is the size of a vCPU's run page mapping in bytes (KVM_GET_VCPU_MMAP_SIZE, §4.5).
func (s *System) MmapSize() int { return s.mmapSize }

// Close closes the device; VMs made from it live on.
func (s *System) Close() error { return unix.Close(s.FD) }

// Check is KVM_CHECK_EXTENSION (§4.4): 0 when the capability is absent.
func (s *System) Check(capability int) int {
	n, err := ioctl(s.FD, ioCheckExtension, uintptr(capability))
	if err != nil {
		return 0
	}
	return n
}

// SupportedCPUID is KVM_GET_SUPPORTED_CPUID (§4.46).
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	if s.early {
		return append([]CPUIDEntry(nil), earlyCPUID.entries[:earlyCPUID.n]...), nil
	}
	t := &cpuid2{n: MaxCPUIDEntries}
	if _, err := ioctlPtr(s.FD, ioGetSupportedCPUID, unsafe.Pointer(t)); err != nil {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %w", err)
	}
	return append([]CPUIDEntry(nil), t.entries[:t.n]...), nil
}

// VM is a KVM virtual machine.
type VM struct {
	FD    int
	sys   *System
	early bool // see EarlyCalls
}

// CreateVM is KVM_CREATE_VM (§4.2).
func (s *System) CreateVM() (*VM, error) {
	if vm := s.takeVM(); vm != nil {
		return vm, nil
	}
	for {
		fd, err := ioctl(s.FD, ioCreateVM, 0)
		if err == unix.EINTR { // a fork or signal in the parent may interrupt the allocation; nothing has been made
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("KVM_CREATE_VM: %w", err)
		}
		return &VM{FD: fd, sys: s}, nil
	}
}

// SetMemory is KVM_SET_USER_MEMORY_REGION (§4.35): guest-physical [gpa, gpa+size) is backed by host memory at host.
// Size 0 deletes the slot. All but slot and flags are page-aligned, in bytes.
func (vm *VM) SetMemory(slot, flags uint32, gpa, size uint64, host uintptr) error {
	r := memoryRegion{slot: slot, flags: flags, gpa: gpa, size: size, host: uint64(host)}
	if _, err := ioctlPtr(vm.FD, ioSetMemory, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("KVM_SET_USER_MEMORY_REGION slot %d gpa %#x size %#x: %w", slot, gpa, size, err)
	}
	return nil
}

// SetTSSAddr is KVM_SET_TSS_ADDR (§4.17): three pages of guest-physical space below 4 GiB that Intel hosts without
// "unrestricted guest" need.
func (vm *VM) SetTSSAddr(gpa uint64) error {
	_, err := ioctl(vm.FD, ioSetTSSAddr, uintptr(gpa))
	return err
}

// VCPU is a virtual CPU with its run page mapped.
type VCPU struct {
	FD   int
	Run  *Run
	page []byte
}

// CreateVCPU is KVM_CREATE_VCPU (§4.7) plus the mapping of its run page. relocate, when not nil, moves the new
// descriptor out of the payload's range and returns the new number.
func (vm *VM) CreateVCPU(id int, relocate func(fd int) (int, error)) (*VCPU, error) {
	if v := vm.takeVCPU(id); v != nil {
		return v, nil
	}
	fd, err := ioctl(vm.FD, ioCreateVCPU, uintptr(id))
	if err != nil {
		return nil, fmt.Errorf("KVM_CREATE_VCPU %d: %w", id, err)
	}
	if relocate != nil {
		if fd, err = relocate(fd); err != nil {
			return nil, fmt.Errorf("descriptor of vCPU %d: %w", id, err)
		}
	}
	page, err := unix.Mmap(fd, 0, vm.sys.mmapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("mapping the run page of vCPU %d: %w", id, err)
	}
	return &VCPU{FD: fd, Run: (*Run)(unsafe.Pointer(&page[0])), page: page}, nil
}

// Close unmaps the run page and closes the vCPU; the kernel frees it with the VM.
func (v *VCPU) Close() error {
	_ = unix.Munmap(v.page)
	return unix.Close(v.FD)
}

// Enter is KVM_RUN (§4.10). It goes through unix.Syscall, never RawSyscall: the Go scheduler must be able to take
// the P, or the first collection waits for the guest for ever.
func (v *VCPU) Enter() unix.Errno {
	runs.Add(1)
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(v.FD), ioRun, 0)
	return e
}

// SetImmediateExit makes the current or next KVM_RUN return EINTR at once (§5, immediate_exit). Any thread may call it;
// a vCPU already in guest mode notices only together with a signal.
func (v *VCPU) SetImmediateExit(on bool) {
	b := uint32(0)
	if on {
		b = 1 << 8
	}
	// The byte lives in the first word of the page; its neighbours (request_interrupt_window, padding) are always 0.
	atomic.StoreUint32((*uint32)(unsafe.Pointer(v.Run)), b)
}

func (v *VCPU) call(name string, req uintptr, p unsafe.Pointer) error {
	ioctls.Add(1)
	if _, err := ioctlPtr(v.FD, req, p); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// SetCPUID is KVM_SET_CPUID2 (§4.20).
func (v *VCPU) SetCPUID(entries []CPUIDEntry) error {
	t := &cpuid2{n: uint32(min(len(entries), MaxCPUIDEntries))}
	copy(t.entries[:], entries)
	return v.call("KVM_SET_CPUID2", ioSetCPUID2, unsafe.Pointer(t))
}

// SetXCR0 is KVM_SET_XCRS (§4.43) for XCR0.
func (v *VCPU) SetXCR0(value uint64) error {
	x := xcrs{n: 1}
	x.xcr[0].value = value
	return v.call("KVM_SET_XCRS", ioSetXCRs, unsafe.Pointer(&x))
}

// SetMSRs is KVM_SET_MSRS (§4.19). It fails if the kernel took fewer than all.
func (v *VCPU) SetMSRs(m []MSR) error {
	t := msrs{n: uint32(len(m))}
	copy(t.entries[:], m)
	ioctls.Add(1)
	n, err := ioctlPtr(v.FD, ioSetMSRs, unsafe.Pointer(&t))
	if err == nil && n < len(m) {
		return fmt.Errorf("KVM_SET_MSRS: MSR %#x was refused", m[n].Index)
	}
	if err != nil {
		return fmt.Errorf("KVM_SET_MSRS: %w", err)
	}
	return nil
}

// MSR reads one model-specific register by KVM_GET_MSRS (§4.18).
func (v *VCPU) MSR(index uint32) (uint64, error) {
	t := msrs{n: 1}
	t.entries[0].Index = index
	ioctls.Add(1)
	n, err := ioctlPtr(v.FD, ioGetMSRs, unsafe.Pointer(&t))
	if err == nil && n != 1 {
		err = unix.EINVAL
	}
	if err != nil {
		return 0, fmt.Errorf("KVM_GET_MSRS %#x: %w", index, err)
	}
	return t.entries[0].Data, nil
}

// SetSignalMask is KVM_SET_SIGNAL_MASK (§4.21): while KVM_RUN runs, blocked is the thread's signal mask (bit sig-1), and
// a pending open signal makes it return EINTR without running any handler.
func (v *VCPU) SetSignalMask(blocked uint64) error {
	m := signalMask{len: 8}
	*(*[8]byte)(unsafe.Pointer(&m.set)) = *(*[8]byte)(unsafe.Pointer(&blocked))
	return v.call("KVM_SET_SIGNAL_MASK", ioSetSignalMask, unsafe.Pointer(&m))
}

// LegacyXsaveSize is the size of struct kvm_xsave in bytes; a host with larger state says so by KVM_CAP_XSAVE2.
const LegacyXsaveSize = 4096

// GetXsave reads the FPU and vector state in the standard (non-compacted) XSAVE format (§4.42, §4.134). len(buf) is
// the size KVM_CAP_XSAVE2 gives, at least LegacyXsaveSize.
func (v *VCPU) GetXsave(buf []byte) error {
	if len(buf) < LegacyXsaveSize {
		return unix.EINVAL
	}
	if len(buf) > LegacyXsaveSize {
		return v.call("KVM_GET_XSAVE2", ioGetXsave2, unsafe.Pointer(&buf[0]))
	}
	return v.call("KVM_GET_XSAVE", ioGetXsave, unsafe.Pointer(&buf[0]))
}

// SetXsave is KVM_SET_XSAVE (§4.43); the same format and size as GetXsave.
func (v *VCPU) SetXsave(buf []byte) error {
	if len(buf) < LegacyXsaveSize {
		return unix.EINVAL
	}
	return v.call("KVM_SET_XSAVE", ioSetXsave, unsafe.Pointer(&buf[0]))
}

// GetRegs is KVM_GET_REGS (§4.11); the run loop uses sync_regs instead.
func (v *VCPU) GetRegs(r *Regs) error { return v.call("KVM_GET_REGS", ioGetRegs, unsafe.Pointer(r)) }

// SetRegs is KVM_SET_REGS (§4.12).
func (v *VCPU) SetRegs(r *Regs) error { return v.call("KVM_SET_REGS", ioSetRegs, unsafe.Pointer(r)) }

// GetSregs is KVM_GET_SREGS (§4.13).
func (v *VCPU) GetSregs(s *Sregs) error {
	return v.call("KVM_GET_SREGS", ioGetSregs, unsafe.Pointer(s))
}

// SetSregs is KVM_SET_SREGS (§4.14).
func (v *VCPU) SetSregs(s *Sregs) error {
	return v.call("KVM_SET_SREGS", ioSetSregs, unsafe.Pointer(s))
}

// ShareTSC makes RDTSC in the guest give the host's own value: KVM_SET_DEVICE_ATTR with KVM_VCPU_TSC_OFFSET 0
// (Documentation/virt/kvm/devices/vcpu.rst §4.1, Linux 5.16). A new vCPU's TSC starts at 0 otherwise.
func (v *VCPU) ShareTSC() error {
	const group, attribute = 0, 0 // KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET
	var offset uint64
	a := struct {
		flags, group uint32
		attr         uint64
		addr         *uint64
	}{group: group, attr: attribute, addr: &offset}
	return v.call("KVM_SET_DEVICE_ATTR (TSC offset)", ioSetDeviceAttr, unsafe.Pointer(&a))
}
