package hypercall

import (
	"encoding/binary"

	"kmdev/monitor/usermem"
)

const (
	maxIOV    = 1024 // UIO_MAXIOV
	sizeIOVec = 16
)

// IOVecs copies count iovecs at payload address p to scratch memory, translates
// them and returns where they are. What can't be read or is too much
// becomes an address for which the kernel finds the payload's error itself.
func IOVecs(t Task, p, count uint64) uintptr {
	if count == 0 || count > maxIOV {
		return Pointer(p, 0)
	}
	m := t.Scratch().Alloc(int(count) * sizeIOVec)
	if m.Host() == 0 || usermem.CopyIn(m.Bytes(), p) != 0 {
		return badAddress
	}
	TranslateIOVecs(m.Bytes())
	return m.Host()
}

// TranslateIOVecs makes the payload addresses in an array of struct iovec the
// host's.
func TranslateIOVecs(b []byte) {
	for ; len(b) >= sizeIOVec; b = b[sizeIOVec:] {
		base, n := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		binary.LittleEndian.PutUint64(b, uint64(Pointer(base, n)))
	}
}
