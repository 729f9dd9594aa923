package cpu

// CPUID executes the CPUID instruction.
func CPUID(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// XCR0 is the set of state components that the kernel has enabled (XGETBV with ECX=0). It faults where HasXSAVE is
// false.
func XCR0() uint64

// MXCSRMask is the set of MXCSR bits that the processor knows: loading any other raises #GP (Intel SDM vol. 1,
// §11.6.6).
func MXCSRMask() uint32 {
	if m := fxsaveMask(); m != 0 {
		return m
	}
	return 0xffbf // processors without the field know everything but DAZ
}

// HasXSAVE tells whether the kernel has enabled XSAVE (CPUID leaf 1, OSXSAVE).
func HasXSAVE() bool {
	_, _, ecx, _ := CPUID(1, 0)
	return ecx&(1<<27) != 0
}

// fxsaveMask is bytes 28…31 of the FXSAVE image.
func fxsaveMask() uint32
