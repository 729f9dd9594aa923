package signal

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/kvm"
)

// Restart codes that a system call of the payload ends with inside the monitor, as in Linux: results that no payload
// sees. They are compared as negative numbers.
const (
	ERestartSys      = 512 // restart if the handler has SA_RESTART, or there is none
	ERestartNoIntr   = 513 // restart always
	ERestartNoHand   = 514 // restart if there is no handler
	ERestartBlock    = 516 // as ERestartNoHand, by way of restart_syscall
	nrRestartSyscall = uint64(unix.SYS_RESTART_SYSCALL)
	syscallLength    = 2 // bytes of the SYSCALL instruction
)

// Resume is how a payload goes on after a system call.
type Resume uint8

// Ways to go on.
const (
	Return       Resume = iota // with the result that is in rax
	Interrupted                // with EINTR
	Again                      // by executing the call once more
	AgainByBlock               // by executing restart_syscall in its place
)

// Restart decides how a system call that gave ret goes on, now that the signals have been looked at (handle_signal
// and arch_do_signal_or_restart). handler tells whether a handler is about to run, saRestart whether it has
// SA_RESTART; only the first handler counts.
func Restart(ret int64, handler, saRestart bool) Resume {
	switch {
	case ret == -ERestartNoIntr:
		return Again
	case ret == -ERestartSys && (!handler || saRestart):
		return Again
	case ret == -ERestartNoHand && !handler:
		return Again
	case ret == -ERestartBlock && !handler:
		return AgainByBlock
	case ret == -ERestartSys, ret == -ERestartNoHand, ret == -ERestartBlock:
		return Interrupted
	}
	return Return
}

// Apply changes the registers that stand just after the SYSCALL instruction; nr is the number of the call that it
// made.
func (r Resume) Apply(regs *kvm.Regs, nr uint64) {
	switch r {
	case Return:
	case Interrupted:
		regs.Rax = negated(unix.EINTR)
	case Again:
		regs.Rax = nr
		regs.Rip -= syscallLength
	case AgainByBlock:
		regs.Rax = nrRestartSyscall
		regs.Rip -= syscallLength
	}
}

func negated(e unix.Errno) uint64 { return -uint64(e) }
