package hostcall

// Flags of runtime.sigtable (runtime/runtime2.go, Go 1.26).
const (
	sigNotify   = 1 << iota // os/signal may have it
	sigKill                 // exit quietly
	sigThrow                // exit loudly
	sigPanic                // a fault: panic
	sigDefault              // left alone
	_                       // Plan 9
	sigSetStack             // libc's
	sigUnblock              // always open
	flagIgn                 // ignored by default
)

// runtimeOpens is the flags for which runtime.blockableSig opens a signal in each new thread whatever the mask that the
// process was started with.
var runtimeOpens int32 = sigKill | sigThrow | sigUnblock

// runtimeSigtable is what runtime/sigtab_linux_generic.go of Go 1.26 holds, by signal. A runtime that differs is not
// patched and Init fails: look at the new table, at blockableSig and minitSignalMask, then update this one.
var runtimeSigtable = [65]int32{
	1:  sigNotify | sigKill,              // HUP
	2:  sigNotify | sigKill,              // INT
	3:  sigNotify | sigThrow,             // QUIT
	4:  sigThrow | sigUnblock,            // ILL
	5:  sigThrow | sigUnblock,            // TRAP
	6:  sigNotify | sigThrow,             // ABRT
	7:  sigPanic | sigUnblock,            // BUS
	8:  sigPanic | sigUnblock,            // FPE
	10: sigNotify,                        // USR1
	11: sigPanic | sigUnblock,            // SEGV
	12: sigNotify,                        // USR2
	13: sigNotify,                        // PIPE
	14: sigNotify,                        // ALRM
	15: sigNotify | sigKill,              // TERM
	16: sigThrow | sigUnblock,            // STKFLT
	17: sigNotify | sigUnblock | flagIgn, // CHLD
	18: sigNotify | sigDefault | flagIgn, // CONT
	20: sigNotify | sigDefault | flagIgn, // TSTP
	21: sigNotify | sigDefault | flagIgn, // TTIN
	22: sigNotify | sigDefault | flagIgn, // TTOU
	23: sigNotify | flagIgn,              // URG
	24: sigNotify,                        // XCPU
	25: sigNotify,                        // XFSZ
	26: sigNotify,                        // VTALRM
	27: sigNotify | sigUnblock,           // PROF
	28: sigNotify | flagIgn,              // WINCH
	29: sigNotify,                        // IO
	30: sigNotify,                        // PWR
	31: sigThrow,                         // SYS
	32: sigSetStack | sigUnblock,         // glibc's SIGCANCEL
	33: sigSetStack | sigUnblock,         // glibc's SIGSETXID, Go's AllThreadsSyscall
	34: sigSetStack | sigUnblock,         // musl's SIGSYNCCALL
	35: sigNotify, 36: sigNotify, 37: sigNotify, 38: sigNotify, 39: sigNotify, 40: sigNotify,
	41: sigNotify, 42: sigNotify, 43: sigNotify, 44: sigNotify, 45: sigNotify, 46: sigNotify,
	47: sigNotify, 48: sigNotify, 49: sigNotify, 50: sigNotify, 51: sigNotify, 52: sigNotify,
	53: sigNotify, 54: sigNotify, 55: sigNotify, 56: sigNotify, 57: sigNotify, 58: sigNotify,
	59: sigNotify, 60: sigNotify, 61: sigNotify, 62: sigNotify, 63: sigNotify, 64: sigNotify,
}

// sigtablePatched is set by patchSigtable. Assembly writes it before the runtime runs.
var sigtablePatched uint32

func patchSigtable() // called by the entry
