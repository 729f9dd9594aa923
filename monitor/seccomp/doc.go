// Package seccomp is what seccomp(2) means for a payload: classic BPF programs over the number and arguments of each
// hypercall. The host's own seccomp is no use, since it would see the monitor's system calls instead of the payload's.
//
// It knows no machine: it checks programs as the kernel does ([Check]), chains them ([Filter.Attach]) and evaluates a
// chain ([Filter.Run]); the monitor carries out the action. Filters are immutable and shared by threads.
//
// Source: kernel/seccomp.c, net/core/filter.c, seccomp(2), Documentation/userspace-api/seccomp_filter.rst.
package seccomp
