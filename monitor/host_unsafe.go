package monitor

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hostcall"
)

// setComm names the calling thread as the host's ps shows it; at most 15 bytes count.
func setComm(name string) {
	var b [16]byte
	copy(b[:15], name)
	unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b)), 0, 0, 0)
}

// currentCPU is the CPU the calling thread runs on at this moment.
func currentCPU() uint32 {
	var cpu uint32
	hostcall.Raw(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0, 0, 0, 0)
	return cpu
}

// pendingSignals are the signals pending for the calling thread and for the process (rt_sigpending).
func pendingSignals() (set uint64) {
	hostcall.Raw(unix.SYS_RT_SIGPENDING, uintptr(unsafe.Pointer(&set)), 8, 0, 0, 0, 0)
	return set
}

// capableSysAdmin tells whether the calling thread has CAP_SYS_ADMIN in effect.
func capableSysAdmin() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[0].Effective>>unix.CAP_SYS_ADMIN&1 != 0
}
