package guest

// Ports of the OUT instructions that end up in the monitor as KVM_EXIT_IO.
const (
	PortHypercall = 0x40 // SYSCALL
	PortException = 0x80 // + vector, 0…31
)

// Vectors is how many exception vectors the architecture has.
const Vectors = 32

// Layout of the landing pad's guest-physical region, in bytes from its start. The first pages are shared by all
// vCPUs; each vCPU has one page behind them.
const (
	offIDT       = 0x0000
	offCode      = 0x1000 // supervisor: exception stubs, SYSCALL entry of hardware hosts
	offUserEntry = 0x2000 // CPL 3: SYSCALL entry of PVM hosts
	offPDPT      = 0x3000 // PML4[511]
	offPD        = 0x4000
	offUserPDPT  = 0x5000 // PML4[UserEntryIndex]
	offUserPD    = 0x6000
	offUserPT    = 0x7000
	offVCPU      = 0x8000
)

// MaxVCPUs is how many vCPUs the landing pad has room for (KVM's own limit is 4096).
const MaxVCPUs = 4096

// Size is the landing pad's size in bytes, a multiple of 2 MiB. Its pages are touched only as vCPUs appear.
const Size = (offVCPU + MaxVCPUs*pageSize + largePage - 1) &^ (largePage - 1)

const (
	pageSize  = 4096
	largePage = 2 << 20
)

// KernelBase is where the landing pad is in the payload's (supervisor) address space.
const KernelBase = 0xffff_ff80_0000_0000

// UserEntry is the payload-visible page that holds the SYSCALL entry on PVM hosts: above every payload address
// (usermem.Size), below the canonical hole.
const UserEntry = 0x0000_7fff_ffff_d000

// Indices in the PML4 that belong to the landing pad.
const (
	KernelIndex    = 511
	UserEntryIndex = 255
)

// Selectors, equal to Linux's: a payload that looks sees what it expects (cs=0x33, ss=0x2b).
const (
	KernelCS = 0x10
	KernelSS = 0x18
	UserCS   = 0x33
	UserSS   = 0x2b
	tssSel   = 0x40
)

// Layout of a vCPU's page.
const (
	vcpuGDT    = 0x000
	vcpuTSS    = 0x100
	vcpuStack  = 0x1000 // IST stack, growing down
	gdtSize    = 0x50
	tssBitmap  = 0x68
	tssIOBytes = PortHypercall/8 + 2 // the CPU reads two bytes of the bitmap
)

// Frame is what the CPU pushes for an exception, lowest address first. Vectors without an error code have no Err.
type Frame struct {
	Err                      uint64
	RIP, CS, RFLAGS, RSP, SS uint64
}

// errorCodes has a bit for each vector that pushes an error code (Intel SDM vol. 3, table 6-1).
const errorCodes = 1<<8 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<17 | 1<<21 | 1<<29 | 1<<30
