package kvm

// RequestType are the bits under RequestMask of every ioctl of KVM (ioctl-number.rst).
const (
	RequestMask = 0xff00
	RequestType = 0xae00
)

// Requests are the numbers of all ioctls that this package makes, KVM_RUN first. The monitor's seccomp filter allows no other
// of KVM.
func Requests() []uint32 {
	return []uint32{
		ioRun, ioSetMemory, ioSetSignalMask, ioGetRegs, ioSetRegs, ioGetSregs, ioSetSregs, ioGetXsave, ioGetXsave2, ioSetXsave,
		ioCreateVCPU, ioGetMSRs, ioSetMSRs, ioSetCPUID2, ioSetXCRs, ioSetDeviceAttr, ioSetTSSAddr,
		ioGetAPIVersion, ioCreateVM, ioCheckExtension, ioGetVCPUMmapSize, ioGetSupportedCPUID,
	}
}
