package usermem

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
)

const pageSize = 4096

// CopyIn reads len(dst) bytes. On EFAULT dst may have been written in part.
func CopyIn(dst []byte, gva uint64) unix.Errno {
	addr, ok := Host(gva, uint64(len(dst)))
	if !ok || hostcall.CopyIn(dst, addr) != len(dst) {
		return unix.EFAULT
	}
	return 0
}

// CopyOut writes src. On EFAULT the memory may have been written in part.
func CopyOut(gva uint64, src []byte) unix.Errno {
	addr, ok := Host(gva, uint64(len(src)))
	if !ok || hostcall.CopyOut(addr, src) != len(src) {
		return unix.EFAULT
	}
	return 0
}

// CopyInSome reads up to len(dst) bytes and returns how many there are before the first that is not readable.
func CopyInSome(dst []byte, gva uint64) int {
	if gva >= Size {
		return 0
	}
	n := min(uint64(len(dst)), Size-gva)
	return hostcall.CopyIn(dst[:n], uintptr(Window+gva))
}

// CopyOutSome writes up to len(src) bytes and returns how many were written before the first that is not writable.
func CopyOutSome(gva uint64, src []byte) int {
	if gva >= Size {
		return 0
	}
	n := min(uint64(len(src)), Size-gva)
	return hostcall.CopyOut(uintptr(Window+gva), src[:n])
}

// ReadString reads a string that ends in a zero byte, without it. ENAMETOOLONG if the first max bytes hold no zero
// byte, EFAULT if unreadable memory comes before one.
func ReadString(gva uint64, max int) (string, unix.Errno) {
	var small [256]byte
	text := small[:0]
	for len(text) < max {
		chunk := min(max-len(text), cap(small), pageSize-int(gva%pageSize))
		at := len(text)
		text = slices.Grow(text, chunk)[:at+chunk]
		n := CopyInSome(text[at:], gva)
		if end := bytes.IndexByte(text[at:at+n], 0); end >= 0 {
			return string(text[:at+end]), 0
		}
		if n < chunk {
			return "", unix.EFAULT
		}
		gva += uint64(chunk)
	}
	return "", unix.ENAMETOOLONG
}
