//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"runtime"
	"unsafe"
)

// access is one fault-safe access. Assembly knows the fields by name.
type access struct {
	dst, src, n uintptr // copy; dst is the address for perform
	op          uintptr // routine for perform
	old, val    uint64
	result      uint64  // the value before
	left        uintptr // bytes not copied
	force       uint32  // ignore closedThreads: this thread may fault
	status      uint32
}

const (
	accessOK    = 0
	accessFault = 1
	accessRetry = 2
)

const (
	opLoad32 = iota
	opLoad64
	opStore32
	opStore64
	opSwap32
	opSwap64
	opCas32
	opCas64
	numOps
)

// accessTable is the addresses that handle goes by. Filled in once by Init; signal handlers read it.
type accessTable struct {
	copyBytes, copyTail, copyDone, perform uintptr
	ops                                    [numOps]uintptr
	faultExit, retryExit                   uintptr
}

var accessAt accessTable

//go:noescape
func copyBytes(a *access)

//go:noescape
func perform(a *access)

//go:noescape
func accessAddresses(t *accessTable)

func copyTail(a *access)
func copyDone(a *access)
func accessLoad32(a *access)
func accessLoad64(a *access)
func accessStore32(a *access)
func accessStore64(a *access)
func accessSwap32(a *access)
func accessSwap64(a *access)
func accessCas32(a *access)
func accessCas64(a *access)
func accessDone(a *access)
func faultExit(a *access)
func retryExit(a *access)

// faultTarget is where to go on after a fault at pc, 0 if pc is not part of a fault-safe access.
//
//go:nosplit
//go:norace
func faultTarget(pc uintptr) uintptr {
	t := &accessAt
	if pc >= t.copyBytes && pc < t.copyTail {
		return t.copyTail
	}
	if pc >= t.copyTail && pc < t.copyDone || t.isOp(pc) {
		return t.faultExit
	}
	return 0
}

// retryTarget is where to go on after faults were blocked at pc, 0 if pc is not before a fault-safe access that might
// fault.
//
//go:nosplit
//go:norace
func retryTarget(pc uintptr) uintptr {
	t := &accessAt
	if pc >= t.copyBytes && pc < t.copyDone || pc >= t.perform && pc < t.ops[0] || t.isOp(pc) {
		return t.retryExit
	}
	return 0
}

//go:nosplit
//go:norace
func (t *accessTable) isOp(pc uintptr) bool {
	for i := 0; i < numOps; i++ {
		if pc == t.ops[i] {
			return true
		}
	}
	return false
}

// CopyIn copies from an address of the process into dst. It returns the bytes copied: less than len(dst) if the next
// one is not readable, be it unmapped, protected or beyond the end of its file. Any thread of a monitor may call it,
// after Init.
func CopyIn(dst []byte, src uintptr) int {
	if len(dst) == 0 {
		return 0
	}
	a := access{dst: uintptr(unsafe.Pointer(&dst[0])), src: src, n: uintptr(len(dst))}
	copyBytes(&a)
	if a.status == accessRetry {
		buf := make([]byte, len(dst))
		a.dst = uintptr(unsafe.Pointer(&buf[0]))
		a.elsewhere(copyBytes)
		runtime.KeepAlive(buf)
		return copy(dst, buf[:len(buf)-int(a.left)])
	}
	runtime.KeepAlive(dst)
	return len(dst) - int(a.left)
}

// CopyOut is CopyIn in the other direction: from src to an address of the process.
func CopyOut(dst uintptr, src []byte) int {
	if len(src) == 0 {
		return 0
	}
	a := access{dst: dst, src: uintptr(unsafe.Pointer(&src[0])), n: uintptr(len(src))}
	copyBytes(&a)
	if a.status == accessRetry {
		buf := append([]byte(nil), src...)
		a.src = uintptr(unsafe.Pointer(&buf[0]))
		a.elsewhere(copyBytes)
		runtime.KeepAlive(buf)
	}
	runtime.KeepAlive(src)
	return len(src) - int(a.left)
}

// elsewhere makes the access on a thread that may fault: one of the runtime's, which never has SIGSEGV or SIGBUS
// blocked. A goroutine can not land on a payload thread, since those are locked to theirs.
func (a *access) elsewhere(run func(*access)) {
	b := *a
	b.force = 1
	done := make(chan struct{})
	go func() {
		run(&b)
		close(done)
	}()
	<-done
	*a = b
}

func (a *access) do(op int) (uint64, bool) {
	a.op = accessAt.ops[op]
	perform(a)
	if a.status == accessRetry {
		a.elsewhere(perform)
	}
	return a.result, a.status == accessOK
}

// Load32 reads a 32-bit word. ok is false if addr is not readable. A naturally aligned access is atomic; this holds for
// all that follow.
func Load32(addr uintptr) (v uint32, ok bool) {
	a := access{dst: addr}
	r, ok := a.do(opLoad32)
	return uint32(r), ok
}

// Load64 reads a 64-bit word.
func Load64(addr uintptr) (v uint64, ok bool) {
	a := access{dst: addr}
	return a.do(opLoad64)
}

// Store32 writes a 32-bit word. It reports whether addr is writable.
func Store32(addr uintptr, v uint32) bool {
	a := access{dst: addr, val: uint64(v)}
	_, ok := a.do(opStore32)
	return ok
}

// Store64 writes a 64-bit word.
func Store64(addr uintptr, v uint64) bool {
	a := access{dst: addr, val: v}
	_, ok := a.do(opStore64)
	return ok
}

// Swap32 writes a 32-bit word and returns the one before. addr must be aligned: a locked access across cache lines
// faults on some hosts and stops all CPUs on others.
func Swap32(addr uintptr, v uint32) (old uint32, ok bool) {
	a := access{dst: addr, val: uint64(v)}
	r, ok := a.do(opSwap32)
	return uint32(r), ok
}

// Swap64 is Swap32 for 64 bits.
func Swap64(addr uintptr, v uint64) (old uint64, ok bool) {
	a := access{dst: addr, val: v}
	return a.do(opSwap64)
}

// CompareAndSwap32 writes v if the word is old, and returns the word before: the exchange took place if that is old.
// addr must be aligned and writable even if nothing is exchanged.
func CompareAndSwap32(addr uintptr, old, v uint32) (before uint32, ok bool) {
	a := access{dst: addr, old: uint64(old), val: uint64(v)}
	r, ok := a.do(opCas32)
	return uint32(r), ok
}

// CompareAndSwap64 is CompareAndSwap32 for 64 bits.
func CompareAndSwap64(addr uintptr, old, v uint64) (before uint64, ok bool) {
	a := access{dst: addr, old: old, val: v}
	return a.do(opCas64)
}
