package kvm

import "testing"

func TestRequests(t *testing.T) {
	r := Requests()
	if r[0] != ioRun {
		t.Error("KVM_RUN is not the first: the seccomp filter compares in this order, and it is the one made for each hypercall")
	}
	for _, n := range r {
		if n&RequestMask != RequestType {
			t.Errorf("%#x is no request of KVM's", n)
		}
	}
}
