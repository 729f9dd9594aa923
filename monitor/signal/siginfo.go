package signal

import "encoding/binary"

// Siginfo is the kernel's siginfo_t as user space sees it (asm-generic/siginfo.h): si_signo, si_errno, si_code, four
// bytes of padding, then a union that si_code selects. Which accessors mean something depends on Signo and Code.
type Siginfo [128]byte

// Values of si_code for any signal. Positive codes, SIKernel among them, come from the kernel only.
const (
	SIUser    = 0    // kill(2)
	SIKernel  = 0x80 // the kernel, without saying why
	SIQueue   = -1   // sigqueue(3)
	SITimer   = -2   // POSIX timer
	SIMesgQ   = -3   // mq_notify(3)
	SIAsyncIO = -4
	SISigIO   = -5
	SITkill   = -6 // tkill(2), tgkill(2)
)

// Values of si_code for faults.
const (
	IllOpn   = 2 // SIGILL: ILL_ILLOPN
	IllOpc   = 1 // SIGILL: ILL_ILLOPC
	FPEInt   = 1 // SIGFPE: FPE_INTDIV
	FPEDiv   = 3 // FPE_FLTDIV
	FPEOvf   = 4 // FPE_FLTOVF
	FPEUnd   = 5 // FPE_FLTUND
	FPERes   = 6 // FPE_FLTRES
	FPEInv   = 7 // FPE_FLTINV
	SegvMap  = 1 // SIGSEGV: SEGV_MAPERR
	SegvAcc  = 2 // SEGV_ACCERR
	SegvPku  = 4 // SEGV_PKUERR
	SegvCp   = 10
	BusAln   = 1 // SIGBUS: BUS_ADRALN
	BusAdr   = 2 // BUS_ADRERR
	BusMceAR = 4 // BUS_MCEERR_AR
	TrapBrk  = 1 // SIGTRAP: TRAP_BRKPT
	TrapStep = 2 // TRAP_TRACE
	TrapHW   = 4 // TRAP_HWBKPT
)

// Values of si_code for SIGCHLD.
const (
	ChildExited = iota + 1
	ChildKilled
	ChildDumped
	ChildTrapped
	ChildStopped
	ChildContinued
)

// Places in siginfo_t, in bytes.
const (
	offSigno = 0
	offErrno = 4
	offCode  = 8
	offPid   = 16 // also si_addr, si_tid, si_band, si_call_addr
	offUid   = 20 // also si_overrun
	offValue = 24 // si_value; also si_status, si_fd, si_addr_lsb, si_syscall
	offArch  = 28 // of SIGSYS
	offPkey  = 32
)

func (i *Siginfo) i32(off int) int32       { return int32(binary.LittleEndian.Uint32(i[off:])) }
func (i *Siginfo) set32(off int, v int32)  { binary.LittleEndian.PutUint32(i[off:], uint32(v)) }
func (i *Siginfo) u64(off int) uint64      { return binary.LittleEndian.Uint64(i[off:]) }
func (i *Siginfo) set64(off int, v uint64) { binary.LittleEndian.PutUint64(i[off:], v) }

// Signo is si_signo.
func (i *Siginfo) Signo() int { return int(i.i32(offSigno)) }

// Errno is si_errno.
func (i *Siginfo) Errno() int { return int(i.i32(offErrno)) }

// Code is si_code.
func (i *Siginfo) Code() int { return int(i.i32(offCode)) }

// Addr is si_addr of a fault.
func (i *Siginfo) Addr() uint64 { return i.u64(offPid) }

// AddrLSB is si_addr_lsb of BUS_MCEERR_*: the poisoned range's size as a power of two.
func (i *Siginfo) AddrLSB() int { return int(int16(i.i32(offValue))) }

// Pkey is si_pkey of SEGV_PKUERR.
func (i *Siginfo) Pkey() uint32 { return uint32(i.i32(offPkey)) }

// Pid is si_pid of kill, tkill, sigqueue and SIGCHLD.
func (i *Siginfo) Pid() int { return int(i.i32(offPid)) }

// Uid is si_uid, with Pid.
func (i *Siginfo) Uid() uint32 { return uint32(i.i32(offUid)) }

// Value is si_value of sigqueue, POSIX timers and message queues.
func (i *Siginfo) Value() uint64 { return i.u64(offValue) }

// Status is si_status of SIGCHLD.
func (i *Siginfo) Status() int { return int(i.i32(offValue)) }

// TimerID is si_tid of SI_TIMER.
func (i *Siginfo) TimerID() int { return int(i.i32(offPid)) }

// Overrun is si_overrun of SI_TIMER.
func (i *Siginfo) Overrun() int { return int(i.i32(offUid)) }

// Band is si_band of SIGIO.
func (i *Siginfo) Band() int64 { return int64(i.u64(offPid)) }

// FD is si_fd of SIGIO.
func (i *Siginfo) FD() int { return int(i.i32(offValue)) }

func newInfo(sig, code int) Siginfo {
	var i Siginfo
	i.set32(offSigno, int32(sig))
	i.set32(offCode, int32(code))
	return i
}

// KernelInfo is what Linux's force_sig makes: SI_KERNEL and nothing else.
func KernelInfo(sig int) Siginfo { return newInfo(sig, SIKernel) }

// FaultInfo is what force_sig_fault makes: a fault at addr.
func FaultInfo(sig, code int, addr uint64) Siginfo {
	i := newInfo(sig, code)
	i.set64(offPid, addr)
	return i
}

// UserInfo is a signal from a process: code SIUser or SITkill.
func UserInfo(sig, code, pid int, uid uint32) Siginfo {
	i := newInfo(sig, code)
	i.set32(offPid, int32(pid))
	i.set32(offUid, int32(uid))
	return i
}

// QueueInfo is a signal from sigqueue(3).
func QueueInfo(sig, pid int, uid uint32, value uint64) Siginfo {
	i := UserInfo(sig, SIQueue, pid, uid)
	i.set64(offValue, value)
	return i
}

// TimerInfo is a POSIX timer's expiry.
func TimerInfo(sig, id, overrun int, value uint64) Siginfo {
	i := UserInfo(sig, SITimer, id, uint32(overrun))
	i.set64(offValue, value)
	return i
}

// ChildInfo is SIGCHLD: code ChildExited … ChildContinued; status is an exit status or a signal.
func ChildInfo(sig, code, pid int, uid uint32, status int) Siginfo {
	i := UserInfo(sig, code, pid, uid)
	i.set32(offValue, int32(status))
	return i
}

// SysSeccomp is SIGSYS's si_code for a seccomp filter's SECCOMP_RET_TRAP.
const SysSeccomp = 1

// SeccompInfo is what a filter's SECCOMP_RET_TRAP makes: the system call, the 16 bits of the filter's result, the
// architecture and the address behind the SYSCALL instruction.
func SeccompInfo(nr, data int, arch uint32, ip uint64) Siginfo {
	i := FaultInfo(31, SysSeccomp, ip) // SIGSYS
	i.set32(offErrno, int32(data))
	i.set32(offValue, int32(nr))
	i.set32(offArch, int32(arch))
	return i
}
