// Package loader turns a path, an argument list and an environment into a mapped program with its initial stack,
// by the rules of Linux's binfmt_elf and binfmt_script (Linux 6.18).
//
// It works in two phases, because execve(2) must be able to fail with the old program intact:
//
//	prog, err := loader.Open(path, argv, env, loader.Options{}) // validates everything, touches no payload memory
//	start, err := prog.Map(as)                                  // maps it: from here on the old program is gone
//
// Accepted: x86-64 ELF, ET_EXEC and ET_DYN: static, static-PIE, or dynamic with an ELF interpreter (PT_INTERP); and
// scripts that begin with #!. Everything else is an *Error with the errno that execve(2) gives, a line for people, and
// the exit code that a shell gives.
//
// # Where this differs from Linux
//
//   - No privileges are gained: the set-uid and set-gid bits and file capabilities of a program have no effect. So
//     AT_SECURE is 1 only when the monitor's own real and effective ids differ, or its own AT_SECURE is 1.
//   - A file must be readable: Linux runs a program that may be executed but not read, the loader says EACCES.
//   - 32-bit programs (i386, x32) are ENOEXEC even where the host's kernel runs them. binfmt_misc is not consulted.
//   - A few files that Linux begins to run, only to kill them by a signal, are refused: no PT_LOAD, segments that lie beyond
//     the end of the file, segments that overlap one another. Error.Fatal marks these.
//
// # Initial registers
//
// RIP and RSP are Start.Entry and Start.StackPointer; every other general register, FS base and GS base are 0, RFLAGS is
// InitialRflags, the FPU is as after FNINIT with MXCSR = 0x1f80 (arch/x86/kernel/process_64.c, start_thread).
package loader

import "kmdev/monitor/usermem"

// InitialRflags is RFLAGS of a new program: interrupts on, and the bit that is always 1.
const InitialRflags = 0x202

// taskSize is the first address that no payload address reaches (Linux's TASK_SIZE for the payload).
const taskSize = usermem.Size

// pageSize is the page size of x86-64; ELF segments are mapped in its units.
const pageSize = 4096

func pageDown(a uint64) uint64 { return a &^ (pageSize - 1) }
func pageUp(a uint64) uint64   { return (a + pageSize - 1) &^ (pageSize - 1) }
func pageOff(a uint64) uint64  { return a & (pageSize - 1) }
