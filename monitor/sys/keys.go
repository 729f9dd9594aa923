package sys

import (
	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

var keyCalls = []entry{
	{unix.SYS_KEYCTL, keyctl},
}

// keyctlOps gives the kind of each argument after the operation, by operation:
//
//	i  integer          s  string, may be NULL
//	b  buffer whose length is the next argument, may be NULL
//	v  iovecs whose count is the next argument
//	p  structure without addresses
//	f  descriptor
var keyctlOps = [...]string{
	0: "ii", 1: "s", 2: "ibi", 3: "i", 4: "iii", 5: "ii", 6: "ibi", 7: "i", 8: "ii", 9: "ii",
	10: "issi", 11: "ibi", 12: "ibii", 13: "iii", 14: "i", 15: "ii", 16: "i", 17: "ibi", 18: "",
	19: "iiii", 20: "ivii", 21: "i", 22: "ii", 23: "pbip", 24: "iisp", 25: "pspp", 26: "pspp",
	27: "pspp", 28: "pspp", 29: "iss", 30: "iiii", 31: "bi", 32: "ifi",
}

const (
	keyctlDHCompute = 23
	keyctlStruct    = 64
)

func keyctl(t task, a args) uint64 {
	op := uint32(a[0])
	if op >= uint32(len(keyctlOps)) {
		return fail(unix.EOPNOTSUPP)
	}
	// The key derivation of DH_COMPUTE has addresses inside.
	if op == keyctlDHCompute && a[4] != 0 {
		return fail(unix.EOPNOTSUPP)
	}
	h := [5]uintptr{uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4])}
	for i, kind := range []byte(keyctlOps[op]) {
		n := i + 1
		switch kind {
		case 's':
			h[n] = hypercall.PointerOrNil(a[n], 1)
		case 'b':
			h[n] = hypercall.PointerOrNil(a[n], a[n+1])
		case 'v':
			h[n] = hypercall.IOVecs(t, a[n], a[n+1])
		case 'p':
			h[n] = hypercall.PointerOrNil(a[n], keyctlStruct)
		case 'f':
			h[n] = hypercall.HostFD(t, a[n])
		}
	}
	return sleep(t, unix.SYS_KEYCTL, h[0], h[1], h[2], h[3], h[4], 0)
}
