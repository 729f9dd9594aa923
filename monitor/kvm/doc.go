// Package kvm is the kernel's KVM ABI and nothing else: ioctl numbers, the structures they carry and one function per
// call, each named after its section in the kernel's Documentation/virt/kvm/api.rst.
//
// No other package of kmdev names a KVM ioctl number. Every vCPU call must be made from the thread that runs the
// vCPU (api.rst §2: "vcpu ioctls should be issued from the same thread that was used to create the vcpu"). A
// KVM_RUN that a signal ended returns EINTR; it is an event, never retried here.
package kvm
