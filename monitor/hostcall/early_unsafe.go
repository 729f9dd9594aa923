//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EarlyCall is a system call that the entry makes on a thread of its own while Go's runtime starts. The list is data that the
// linker lays out, since nothing can be computed before it is used: an entry point in front of kmdev_rt0 stores it in
// earlyCalls.
type EarlyCall struct {
	Nr    uintptr
	Args  [6]EarlyArg
	Out   *uintptr // where the result goes, if not nil
	NewFD uintptr  // not 0: the result is a descriptor, which is moved to the monitor's range
}

// EarlyArg is the sum of its parts.
type EarlyArg struct {
	Value uintptr
	Addr  unsafe.Pointer // of a variable
	From  *uintptr       // a variable that holds an earlier call's result
}

var (
	earlyCalls   []EarlyCall
	earlyStarted uint32 // the thread has been made
	earlyDone    uint32 // all calls have been made, and none has failed
	earlyThread  int32  // its tid; the kernel writes 0 and wakes when it has ended
	earlyStack   [64]uint64
	startSlack   uintptr // this thread's, in ns, to be set back; 0: it was not changed
)

// Package initialisation runs on the first thread, after sysmon has started.
func init() {
	if startSlack != 0 {
		raw6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, startSlack, 0, 0, 0, 0)
	}
}

// startEarly starts the thread. It keeps BX and R15, needs no g, and the thread has none.
func startEarly()

// Early waits for the entry's thread to end and tells whether it has made all its calls. If not, or if there never was one,
// nothing is known about how far it has got: the results that are not 0 are there.
func Early() bool {
	if earlyStarted == 0 {
		return false
	}
	for tid := atomic.LoadInt32(&earlyThread); tid != 0; tid = atomic.LoadInt32(&earlyThread) {
		const wait = 0
		unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&earlyThread)), wait, uintptr(tid), 0, 0, 0)
	}
	return earlyDone != 0
}
