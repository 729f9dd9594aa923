package loader

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// atExecveCheck is AT_EXECVE_CHECK of execveat(2), Linux 6.14.
const atExecveCheck = 0x10000

var emptyString = [1]byte{}

// faccessat2 asks whether the open file may be executed with the effective ids: mode bits, ACL and noexec mounts.
// Linux 5.8.
func faccessat2(fd int) unix.Errno {
	_, _, e := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(fd), uintptr(unsafe.Pointer(&emptyString)),
		unix.X_OK, unix.AT_EMPTY_PATH|unix.AT_EACCESS, 0, 0)
	return e
}

// execveCheck asks the kernel whether execve of the open file would be allowed, without doing it. EINVAL before
// Linux 6.14. The kernel wants an argv, of which it reads one empty string.
func execveCheck(fd int) unix.Errno {
	argv := [2]*byte{&emptyString[0], nil}
	envp := [1]*byte{nil}
	_, _, e := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&emptyString)),
		uintptr(unsafe.Pointer(&argv)), uintptr(unsafe.Pointer(&envp)), unix.AT_EMPTY_PATH|atExecveCheck, 0)
	return e
}
