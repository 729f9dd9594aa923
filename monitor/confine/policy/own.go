package policy

// own are calls that the monitor makes for itself whatever the table says of their rows: reasons by name. Those that a row
// lets through anyway are listed all the same, since rows change.
var own = map[string]string{
	// Go's runtime, at its start too: a child of fork starts a new one under the filter of its parent.
	"read": "files", "write": "files, the runtime's crash report", "close": "files", "openat": "files",
	"mmap": "the heap", "munmap": "the heap", "mprotect": "the heap, guard pages", "madvise": "the heap's pages given back",
	"mincore": "the runtime's start: the page size", "brk": "the runtime's start",
	"rt_sigaction": "handlers", "rt_sigprocmask": "masks, twice in each blocking call", "rt_sigreturn": "handlers", "sigaltstack": "signal stacks",
	"sched_yield": "locks", "nanosleep": "sysmon", "futex": "locks", "sched_getaffinity": "the number of processors",
	"clone": "threads and children", "clone3": "children with what clone has no flags for", "exit": "threads", "exit_group": "the end", "arch_prctl": "the first thread's FS",
	"gettid": "threads", "getpid": "signals", "tgkill": "the runtime's abort", "kill": "the runtime's abort",
	"timer_create": "profiles", "timer_settime": "profiles", "timer_delete": "profiles", "setitimer": "profiles",
	"clock_gettime": "where the vDSO has none", "getrandom": "hash seeds, cookies",
	"epoll_create1": "the poller", "epoll_ctl": "the poller", "epoll_pwait": "the poller", "eventfd2": "the poller",
	"fcntl": "descriptors", "pipe2": "the runtime's start", "uname": "versions", "prlimit64": "descriptors above the payload's",
	"prctl": "names of threads and mappings", "getrlimit": "package os", "readlinkat": "package os", "newfstatat": "package os", "fstat": "package os",
	"socket": "the fallback of the runtime's crash report", "connect": "the same",

	// The monitor.
	"ioctl": "KVM", "execve": "the payload's execve is kmdev's", "execveat": "AT_EXECVE_CHECK", "memfd_create": "copies, views, states",
	"rt_sigtimedwait": "taking signals", "rt_tgsigqueueinfo": "kicks", "rt_sigqueueinfo": "signals passed on", "rt_sigpending": "signals",
	"restart_syscall": "an interrupted call of the payload's goes on", "getcpu": "rseq",
	"recvmsg": "the debug channel", "sendmsg": "the debug channel", "poll": "watching for the parent's end", "ppoll": "the same",
	"open_tree": "procfs", "openat2": "paths", "statx": "files", "fstatfs": "procfs", "lseek": "files", "pread64": "files", "pwrite64": "files",
	"getdents64": "procfs", "dup": "descriptors", "dup2": "descriptors", "dup3": "descriptors", "close_range": "descriptors",
	"wait4": "children", "waitid": "children", "set_tid_address": "a child's thread", "vmsplice": "snapshots",
}
