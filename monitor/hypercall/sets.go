package hypercall

// Flag sets. The names are those under which the decoder keeps the values.
const (
	sOpen Type = (1 + iota) << setShift
	sResolve
	sAt
	sAccess
	sSeek
	sFcntl
	sIoctl
	sFlock
	sFallocate
	sFadvise
	sSyncRange
	sRWF
	sSplice
	sMemfd
	sCloseRange
	sPipe
	sRename
	sXattr
	sStatxMask
	sMount
	sUmount
	sMove
	sFsopen
	sFsconfig
	sFsmount
	sMountAttr
	sOpenTree
	sInotify
	sInotifyMask
	sFanotify
	sFanotifyMark
	sFanotifyMask
	sFanotifyEvent
	sHandle
	sQuota
	sSwap
	sFamily
	sSockType
	sMsg
	sShut
	sSockLevel
	sSockOpt
	sPoll
	sEpoll
	sEpollOp
	sEventfd
	sTimerfd
	sSignalfd
	sAbstime
	sProt
	sMmap
	sMremap
	sMadvise
	sMsync
	sMlock
	sMlockall
	sMempolicy
	sMemFlags
	sPkey
	sIPCGet
	sIPCCmd
	sShmat
	sSemFlags
	sClone
	sUnshare
	sWait
	sIDType
	sPrctl
	sArchPrctl
	sPersonality
	sPidfd
	sKcmp
	sPtrace
	sSigHow
	sFutex
	sFutex2
	sRobust
	sRseq
	sItimer
	sPriority
	sSched
	sIoprio
	sMembarrier
	sRlimit
	sRusage
	sSyslog
	sRandom
	sReboot
	sKexec
	sModule
	sSeccomp
	sLandlock
	sLSM
	sKeyctl
	sBPF
	sPerf
	sUffd
	sIoUring
	sMrelease
	sMq
)

// setNames names the sets in the order of the constants.
var setNames = [...]string{
	"", "open", "resolve", "at", "access", "seek", "fcntl", "ioctl", "flock", "fallocate",
	"fadvise", "sync_file_range", "rwf", "splice", "memfd", "close_range", "pipe", "rename",
	"xattr", "statx_mask", "mount", "umount", "move_mount", "fsopen", "fsconfig", "fsmount",
	"mount_attr", "open_tree", "inotify_init", "inotify_mask", "fanotify_init", "fanotify_mark",
	"fanotify_mask", "fanotify_event_f", "handle", "quotactl", "swapon", "address_family",
	"socket_type", "msg", "shutdown", "socket_level", "socket_option", "poll", "epoll_create",
	"epoll_ctl", "eventfd", "timerfd", "signalfd", "timer_abstime", "prot", "mmap", "mremap",
	"madvise", "msync", "mlock2", "mlockall", "mempolicy", "mbind", "pkey", "ipc_get", "ipc_cmd",
	"shmat", "sem", "clone", "unshare", "wait", "id_type", "prctl", "arch_prctl", "personality",
	"pidfd", "kcmp", "ptrace", "sigprocmask", "futex", "futex2", "robust_list", "rseq", "itimer",
	"priority", "sched", "ioprio", "membarrier", "rlimit", "rusage", "syslog", "getrandom",
	"reboot", "kexec", "module", "seccomp", "landlock", "lsm", "keyctl", "bpf", "perf_event",
	"userfaultfd", "io_uring", "process_mrelease", "mq",
}
