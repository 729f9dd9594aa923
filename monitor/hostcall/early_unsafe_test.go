package hostcall

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var earlyTest struct{ fd, written, read, sent, got uintptr }

// The list is carried out in order, by a thread that is gone afterwards, with each call's result at hand for the next.
func TestEarlyCalls(t *testing.T) {
	defer func() { earlyCalls, earlyStarted, earlyDone = nil, 0, 0 }()
	earlyTest.sent = 42
	earlyCalls = []EarlyCall{
		{Nr: unix.SYS_EVENTFD2, Args: [6]EarlyArg{{}, {Value: unix.EFD_CLOEXEC}}, Out: &earlyTest.fd, NewFD: 1},
		{Nr: unix.SYS_WRITE, Args: [6]EarlyArg{{From: &earlyTest.fd}, {Addr: unsafe.Pointer(&earlyTest.sent)}, {Value: 8}}, Out: &earlyTest.written},
		{Nr: unix.SYS_READ, Args: [6]EarlyArg{{From: &earlyTest.fd}, {Addr: unsafe.Pointer(&earlyTest.got)}, {Value: 4, From: &earlyTest.written}}, Out: &earlyTest.read},
	}
	// The third asks for 4+8 bytes: the sum of an argument's parts.
	startEarly()
	if !Early() {
		t.Fatalf("a call failed: %+v", earlyTest)
	}
	defer unix.Close(int(earlyTest.fd))
	if earlyTest.written != 8 || earlyTest.read != 8 || earlyTest.got != 42 {
		t.Errorf("%+v", earlyTest)
	}
	if int(earlyTest.fd) < FDBound() {
		t.Errorf("descriptor %d is in the payload's range, below %d", earlyTest.fd, FDBound())
	}
	if flags, err := unix.FcntlInt(earlyTest.fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if earlyThread != 0 {
		t.Errorf("thread %d is still there", earlyThread)
	}
}

// A call that fails is the last one, and leaves its result alone.
func TestEarlyCallFails(t *testing.T) {
	defer func() { earlyCalls, earlyStarted, earlyDone = nil, 0, 0 }()
	earlyTest.fd, earlyTest.read = 0, 7
	earlyCalls = []EarlyCall{
		{Nr: unix.SYS_CLOSE, Args: [6]EarlyArg{{Value: ^uintptr(0)}}, Out: &earlyTest.read},
		{Nr: unix.SYS_EVENTFD2, Out: &earlyTest.fd, NewFD: 1},
	}
	startEarly()
	if Early() {
		t.Error("nothing failed")
	}
	if earlyTest.read != 7 || earlyTest.fd != 0 {
		t.Errorf("%+v", earlyTest)
	}
}

func TestNoEarlyCalls(t *testing.T) {
	if Early() {
		t.Error("calls were made that nobody asked for")
	}
}
