package kvm

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
)

// A VM takes KVM half a millisecond to make, and KVM_GET_SUPPORTED_CPUID as long again, so the entry of `kmdev run` begins
// with both before there is a Go runtime, on a thread of its own (hostcall.EarlyCall). Open, SupportedCPUID, CreateVM,
// FirstSlot and CreateVCPU give what it has made, each once. If anything went wrong there they start over, and so find the
// error.

// A VM's first memory slot, number 0: FirstSize bytes of fresh memory at guest-physical FirstGPA.
const (
	FirstGPA  = 2 << 20
	FirstSize = 20 << 20

	// How much of it is populated at once, in bytes: what every VM writes to. See monitor.New for what is there.
	firstStart  = 9 << 12
	secondStart = 10 << 12
	SecondPart  = 18 << 20 // where the latter begins
)

const earlyDevice = "/dev/kvm"

// early is what EarlyCalls fills in. A descriptor of 0 is none.
var early struct {
	system, version, mmapSize, vm, vcpu, run uintptr
}

// region is struct kvm_userspace_memory_region.
type region struct {
	slot, flags uint32
	gpa, size   uint64
	host        uintptr
}

var (
	earlyPath   = [...]byte{'/', 'd', 'e', 'v', '/', 'k', 'v', 'm', 0}
	earlyRegion = region{gpa: FirstGPA, size: FirstSize}
	earlyCPUID  = cpuid2{n: MaxCPUIDEntries}
)

type args = [6]hostcall.EarlyArg

const (
	atFDCWD     = ^uintptr(99) // AT_FDCWD, -100
	freshMemory = unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	readWrite   = unix.PROT_READ | unix.PROT_WRITE
)

// EarlyCalls is for the entry point of cmd/kmdev. It is data: its initialisation needs no code (a test sees to it).
var EarlyCalls = []hostcall.EarlyCall{
	{Nr: unix.SYS_OPENAT, Args: args{{Value: atFDCWD}, {Addr: unsafe.Pointer(&earlyPath)}, {Value: unix.O_RDWR | unix.O_CLOEXEC}}, Out: &early.system, NewFD: 1},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.system}, {Value: ioGetAPIVersion}}, Out: &early.version},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.system}, {Value: ioGetVCPUMmapSize}}, Out: &early.mmapSize},
	// First what has nothing to do with memory: the runtime is busy mapping its own, which KVM_CREATE_VM would hold up.
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.system}, {Value: ioGetSupportedCPUID}, {Addr: unsafe.Pointer(&earlyCPUID)}}},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.system}, {Value: ioCreateVM}}, Out: &early.vm, NewFD: 1},
	{Nr: unix.SYS_MMAP, Args: args{{}, {Value: FirstSize}, {Value: readWrite}, {Value: freshMemory}, {Value: ^uintptr(0)}}, Out: &earlyRegion.host},
	{Nr: unix.SYS_MADVISE, Args: args{{From: &earlyRegion.host}, {Value: FirstSize}, {Value: unix.MADV_NOHUGEPAGE}}},
	{Nr: unix.SYS_MADVISE, Args: args{{From: &earlyRegion.host}, {Value: firstStart}, {Value: unix.MADV_POPULATE_WRITE}}},
	{Nr: unix.SYS_MADVISE, Args: args{{From: &earlyRegion.host, Value: SecondPart}, {Value: secondStart}, {Value: unix.MADV_POPULATE_WRITE}}},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.vm}, {Value: ioSetMemory}, {Addr: unsafe.Pointer(&earlyRegion)}}},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.vm}, {Value: ioCreateVCPU}}, Out: &early.vcpu, NewFD: 1},
	{Nr: unix.SYS_MMAP, Args: args{{}, {From: &early.mmapSize}, {Value: readWrite}, {Value: unix.MAP_SHARED}, {From: &early.vcpu}}, Out: &early.run},
}

// SystemFD is where a monitor keeps the device for the monitors of children and executed programs, counted down from
// hostcall.FDEnd, where the entry uses the last number for itself.
const SystemFD = 2

// EarlyCallsAgain is EarlyCalls for such a monitor. It has the device and knows about CPUID.
var EarlyCallsAgain = []hostcall.EarlyCall{
	{Nr: unix.SYS_IOCTL, Args: args{{From: &hostcall.FDEndWord, Value: ^uintptr(SystemFD - 1)}, {Value: ioGetVCPUMmapSize}}, Out: &early.mmapSize},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &hostcall.FDEndWord, Value: ^uintptr(SystemFD - 1)}, {Value: ioCreateVM}}, Out: &early.vm, NewFD: 1},
	{Nr: unix.SYS_MMAP, Args: args{{}, {Value: FirstSize}, {Value: readWrite}, {Value: freshMemory}, {Value: ^uintptr(0)}}, Out: &earlyRegion.host},
	{Nr: unix.SYS_MADVISE, Args: args{{From: &earlyRegion.host}, {Value: FirstSize}, {Value: unix.MADV_NOHUGEPAGE}}},
	{Nr: unix.SYS_MADVISE, Args: args{{From: &earlyRegion.host}, {Value: firstStart}, {Value: unix.MADV_POPULATE_WRITE}}},
	{Nr: unix.SYS_MADVISE, Args: args{{From: &earlyRegion.host, Value: SecondPart}, {Value: secondStart}, {Value: unix.MADV_POPULATE_WRITE}}},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.vm}, {Value: ioSetMemory}, {Addr: unsafe.Pointer(&earlyRegion)}}},
	{Nr: unix.SYS_IOCTL, Args: args{{From: &early.vm}, {Value: ioCreateVCPU}}, Out: &early.vcpu, NewFD: 1},
	{Nr: unix.SYS_MMAP, Args: args{{}, {From: &early.mmapSize}, {Value: readWrite}, {Value: unix.MAP_SHARED}, {From: &early.vcpu}}, Out: &early.run},
}

// Adopt is Open for the device that the monitor before has kept. early tells whether the entry has begun with a VM, which it
// waits for.
func Adopt(mmapSize int) (s *System, madeEarly bool) {
	s = &System{FD: hostcall.FDEnd() - SystemFD, mmapSize: mmapSize, early: hostcall.Early()}
	if !s.early {
		closeEarly()
	}
	return s, s.early
}

// MadeEarly tells whether the entry has begun with a VM from the device at path, which it waits for.
func MadeEarly(path string) bool { return hostcall.Early() && path == earlyDevice && early.system != 0 }

// openEarly gives the device that was opened early, or nil. Whatever else there is of an early VM is given up then.
func openEarly(path string) *System {
	if !MadeEarly(path) || early.version != apiVersion {
		closeEarly()
		return nil
	}
	s := &System{FD: int(early.system), mmapSize: int(early.mmapSize), early: true}
	early.system = 0
	return s
}

// closeEarly gives up what nobody has taken. The memory, if any, stays mapped: it was not written to.
func closeEarly() {
	for _, fd := range []*uintptr{&early.system, &early.vm, &early.vcpu} {
		if *fd != 0 {
			unix.Close(int(*fd))
		}
		*fd = 0
	}
}

// takeVM gives the VM that was made early.
func (s *System) takeVM() *VM {
	if !s.early || early.vm == 0 {
		return nil
	}
	vm := &VM{FD: int(early.vm), sys: s, early: true}
	early.vm = 0
	return vm
}

// Early tells whether the entry made the VM.
func (vm *VM) Early() bool { return vm.early }

// FirstSlot makes slot 0 and gives its memory. Once for each VM.
func (vm *VM) FirstSlot() ([]byte, error) {
	if vm.early {
		return unsafe.Slice((*byte)(unsafe.Pointer(earlyRegion.host)), FirstSize), nil
	}
	mem, err := unix.Mmap(-1, 0, FirstSize, readWrite, freshMemory)
	if err != nil {
		return nil, fmt.Errorf("memory of the first slot: %w", err)
	}
	_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE) // a kernel without huge pages refuses
	if err := vm.SetMemory(0, 0, FirstGPA, FirstSize, uintptr(unsafe.Pointer(&mem[0]))); err != nil {
		_ = unix.Munmap(mem)
		return nil, err
	}
	return mem, nil
}

// takeVCPU gives vCPU 0 if it was made early.
func (vm *VM) takeVCPU(id int) *VCPU {
	if !vm.early || id != 0 || early.vcpu == 0 {
		return nil
	}
	page := unsafe.Slice((*byte)(unsafe.Pointer(early.run)), vm.sys.mmapSize)
	v := &VCPU{FD: int(early.vcpu), Run: (*Run)(unsafe.Pointer(&page[0])), page: page}
	early.vcpu = 0
	return v
}
