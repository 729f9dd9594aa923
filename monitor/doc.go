// Package monitor is the machine: it runs one Linux process as the payload of one KVM virtual machine.
//
// There is no guest kernel. Each payload thread is a vCPU on a host thread of its own (a goroutine locked to it from its
// first to its last instruction), runs at CPL 3 over page tables that package memory derives from the VMA list, and
// leaves the guest for a system call (a hypercall), an exception or a signal only. All three are served on that
// thread, by the loop in run.go; nothing is handed to another goroutine.
//
// What is where:
//
//	host.go      what this host's KVM can do
//	machine.go   the Machine: VM, landing pad, address space, dispositions, threads
//	vcpu.go      vCPUs and their pool
//	thread.go    a payload thread from clone to exit
//	run.go       KVM_RUN and what comes out of it
//	fault.go     exceptions → signals, page faults → package memory
//	signals.go   taking, delivering, restarting
//	sys_*.go     the hypercalls that need the machine (memory, threads, signals, process); the others are package sys
//	inferior.go  the debugger's view
//
// Locks, outermost first: Machine.mu (threads, vCPU pool), memory.AddressSpace's own, signal.Actions' own. No lock is held
// while a thread is in the guest or sleeps in a host call.
package monitor
