// Package confine confines a monitor to the system calls that it has a reason to make (seccomp(2), filter mode). The filter is
// made at build time, by package policy from the hypercall table, and is data here: installing it costs one system call.
//
// A call that is not allowed ends the process with SIGSYS: no monitor makes one, so something else has taken over.
//
// The filter holds for all threads, for the children and through execve. Those find it in place by asking it (Active), and don't
// install another.
package confine

//go:generate go test ./policy -run TestProgramIsUpToDate -update
