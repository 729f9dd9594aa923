package sys

import (
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// elsewhere are the calls that package monitor serves.
var elsewhere = []int{
	unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_MUNMAP, unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_MSYNC, unix.SYS_MINCORE,
	unix.SYS_MADVISE, unix.SYS_SHMAT, unix.SYS_SHMDT, unix.SYS_MLOCK, unix.SYS_MUNLOCK, unix.SYS_MLOCKALL,
	unix.SYS_MUNLOCKALL, unix.SYS_REMAP_FILE_PAGES, unix.SYS_MLOCK2, unix.SYS_PKEY_MPROTECT,
	unix.SYS_MSEAL, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_WAIT4, unix.SYS_WAITID,
	unix.SYS_PERSONALITY, unix.SYS_EXIT_GROUP, unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_EXIT, unix.SYS_ARCH_PRCTL,
	unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_GET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_RT_SIGACTION,
	unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_PAUSE, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGTIMEDWAIT,
	unix.SYS_RT_SIGSUSPEND, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL, unix.SYS_SECCOMP,
}

func TestEveryHandledRowHasOneHandler(t *testing.T) {
	got := map[int]bool{}
	Register(func(nr int, h Handler) {
		r := hypercall.Lookup(nr)
		switch {
		case r == nil:
			t.Errorf("handler for %d, which is no call", nr)
		case r.How() != hypercall.Handle:
			t.Errorf("handler for %s, which is %v", r.Name, r.How())
		case got[nr]:
			t.Errorf("second handler for %s", r.Name)
		case h == nil:
			t.Errorf("nil handler for %s", r.Name)
		}
		got[nr] = true
	})
	for _, nr := range elsewhere {
		if got[nr] {
			t.Errorf("%s is served here and in package monitor", hypercall.Lookup(nr).Name)
		}
		got[nr] = true
	}
	for _, nr := range hypercall.Handled() {
		if !got[nr] {
			t.Errorf("nothing serves %s", hypercall.Lookup(nr).Name)
		}
	}
}

func TestRequestsAreSorted(t *testing.T) {
	for i := 1; i < len(ioctlRequests); i++ {
		if ioctlRequests[i-1].cmd >= ioctlRequests[i].cmd {
			t.Errorf("%#x before %#x", ioctlRequests[i-1].cmd, ioctlRequests[i].cmd)
		}
	}
	for _, r := range ioctlRequests {
		if got := findRequest(r.cmd); got != r {
			t.Errorf("findRequest(%#x) = %v", r.cmd, got)
		}
		if (r.kind == reqPtr) != (r.size != 0) {
			t.Errorf("%#x: kind %d, size %d", r.cmd, r.kind, r.size)
		}
	}
}
