// Package signal is everything about the payload's signals that is not host plumbing: dispositions, masks, the
// alternate stack, Linux's rt_sigframe in both directions, restart rules, and what signal each processor exception
// becomes. It queues nothing: pending signals stay in the host kernel (ARCHITECTURE.md, "Signals").
//
// The reference is Linux 6.18 on x86-64 (kernel/signal.c, arch/x86/kernel/{signal,signal_64,traps}.c,
// arch/x86/kernel/fpu/signal.c); the tests compare with the running kernel byte for byte, and know where other versions
// differ (kernelIs in sigreturn_test.go).
//
// Order of business in a run loop, per signal:
//
//	act, what := actions.Take(sig)     // SIG_IGN, default, or a handler (SA_RESETHAND applied)
//	Restart(rax, …).Apply(regs, nr)    // once per system call, with the first handler's SA_RESTART
//	out := ctx.Deliver(act, &info)     // what == Handle: the frame, the mask, the registers
//
// and when no handler ran, ThreadState.RestoreMask. A fault of the payload goes through Fault.Info and Actions.Force
// first; signals that are not faults come from the host's queue.
package signal
