// Package guest is the only code of kmdev's that runs inside the VM: the landing pad, which turns a trap of the payload
// into a VM exit, and the page-table entries that map it. It is pure data: it lays bytes out in a region of host memory
// that the monitor gives to KVM as a memory slot.
//
// The payload runs at CPL 3. The landing pad lives in the high half of the address space on supervisor pages, where the
// payload can neither see nor change it:
//
//	SYSCALL     LSTAR. With VT-x or AMD-V this is supervisor code (OUT, SYSRET). A host without them (PVM) enters LSTAR
//	            still at CPL 3, so there LSTAR is a page of the payload's own, read-only and executable.
//	exceptions  IDT → per-vector stub on an IST stack (so the red zone and a bad RSP do no harm) → OUT of the vector.
//
// The monitor resumes the payload by writing registers (sync_regs), never by IRET: measured on PVM, IRET costs another
// 30 % of an exit, and on hardware both are the same.
package guest
