// Package hostcall makes host system calls on the threads of a monitor: interruptible ones for the payload, raw ones,
// and memory accesses that survive a fault.
package hostcall
