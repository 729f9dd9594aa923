package live

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// ExitAs ends this process as the payload ended: with its exit status, or by its signal (without a second core).
func ExitAs(status target.WaitStatus) {
	if sig, ok := status.Signaled(); ok {
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
		setDefault(sig)
		unix.Kill(unix.Getpid(), unix.Signal(sig))
		os.Exit(128 + sig) // the signal is blocked: what a shell would say
	}
	code, _ := status.Exited()
	os.Exit(code)
}

// setDefault gives a signal its default action; os/signal does not do so for those that Go handles itself.
func setDefault(sig int) {
	var action [4]uint64 // struct kernel_sigaction: handler SIG_DFL, flags, restorer, mask
	unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}
