// Package hostcall makes host system calls on the threads of a monitor: interruptible ones for the payload, raw ones,
// and memory accesses that survive a fault. It is assembly where a signal handler has to know, by the address of the
// interrupted instruction, how far things have got.
//
//	entry_amd64.s     the ELF entry: blocks every signal before the Go runtime's first instruction
//	early_amd64.s     what the entry does meanwhile on a thread without a runtime
//	start.go again.go Init; Plain for processes that are no monitor
//	call_amd64.s      the blocking stub: Block.Call
//	handler_amd64.s   the handler of every signal; handler_unsafe.go for what is not the stub
//	access_amd64.s    CopyIn, CopyOut and words
//	kick, queue, siginfo, action, death: signals by hand
//
// # What holds
//
//  1. In every thread of the process every signal is blocked, from the first instruction on, but SIGSEGV and SIGBUS,
//     which the accesses need. (Go would open a dozen in each thread it starts: see patchSigtable.)
//  2. Signals of the payload therefore wait in the kernel's queues. They leave them in three ways: in the blocking stub,
//     whose handler takes exactly one and records its siginfo; by KVM_RUN's own mask, which ends it and leaves the
//     signal there; and by Dequeue.
//  3. A call of the stub that a signal kept from beginning had no effect, and says so. Any other happened once, and its
//     result is there, with or without a signal.
//  4. A SIGSEGV or SIGBUS with si_code > 0 is a fault of the thread; any other was sent by somebody and is the
//     payload's. It is put back into the kernel's queue: see payloadFault.
//  5. The Go runtime sends no signals (asyncpreemptoff): a SIGURG is always the payload's.
//
// # Rules for a monitor
//
//   - No os/signal, no CPU profile, no syscall.AllThreadsSyscall (nor syscall.Setuid and its kin, which use it and would
//     wait for ever): all of them need open signals.
//   - A tight loop without calls delays garbage collection: nothing preempts it.
//   - Children made by os/exec inherit the mask of the thread that starts them: all blocked.
//   - os.Environ is not the payload's environment, Environ is.
//   - The mask of a call that swaps masks itself (ppoll, rt_sigsuspend …) must leave SIGSTKFLT open, for kicks.
//   - Payload threads are locked to their goroutines. What tgkill and its like are given as a tid has to be checked: the
//     monitor's own threads are not the payload's to signal.
//
// # Limits
//
// Without the entry in the file (go test, go install), signals that arrive before Init has executed the program again
// find Go's defaults, and what Go's start-up does to mask and dispositions is lost: see InheritedMask and
// InheritedIgnored.
//
// A SIGSEGV or SIGBUS that is blocked and pending when a monitor is executed ends it.
//
// A SIGSTKFLT that is not a kick is the payload's, but comes even if the payload blocks it.
//
// Under the race detector this package can be tested, but no monitor can run: the detector's shadow memory lies in the
// payload's window.
package hostcall
