package memory

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mincore(addr, n uint64, vec []byte) error {
	if _, _, e := unix.Syscall(unix.SYS_MINCORE, host(addr), uintptr(n), uintptr(unsafe.Pointer(&vec[0]))); e != 0 {
		return e
	}
	return nil
}

func sizeName(n uint64) string { return fmt.Sprintf("%dMiB", n/mib) }
