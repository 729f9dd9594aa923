// Package hypercall is the table of system calls and the engine that serves
// most of them.
//
// One [Row] per x86-64 system call names its typed arguments and what serves
// it: Pass (translate the pointers, call the host kernel), Handle (a Go
// function, see [Add]) or Refuse (an errno and a reason). The same rows feed
// the documentation, the trace decoder, fault injection and record and replay,
// so a fact about a call is written here and nowhere else.
//
// # Pointers
//
// A payload address p is the host address usermem.Window+p. Holes of the
// payload are holes of the host and protections are the same, so the engine
// checks only that a range stays inside the window; for every other bad
// pointer the host kernel itself finds EFAULT, in its own order of checks. An
// address outside the window becomes one that faults on every host, which
// keeps that order too (read(-1, bad, 1) is EBADF, as on Linux). Structures
// that hold pointers are copied to the thread's [Scratch], translated there,
// and the kernel never sees the payload's copy: a second payload thread cannot
// change it between check and use.
//
// # Descriptors
//
// Payload descriptors are host descriptors below [Task.FDLimit]; the monitor's
// own live at or above it. A number at or above the limit is EBADF before the
// host is asked, and a call that would return one gives EMFILE.
//
// # Results
//
// Results follow the kernel's convention: values in [-4095, -1] are -errno.
// An interrupted call gives -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND or
// -ERESTART_RESTARTBLOCK, which the run loop resolves as Linux's do_signal
// does. No handler and no engine function may be called from any thread but
// the vCPU thread that made the hypercall.
package hypercall

//go:generate go test -run TestDocumentIsUpToDate -update
