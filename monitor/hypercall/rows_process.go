package hypercall

// Processes and threads. Pids and tids are the host's.
var processRows = []Row{
	{39, "getpid", GroupProcess, Pass, PID, nil, ""},
	{57, "fork", GroupProcess, Handle, PID, nil, ""},
	{58, "vfork", GroupProcess, Handle, PID, nil, ""},
	{59, "execve", GroupProcess, Handle, Int, A{{"filename", Path | Link}, {"argv", In | StrArray}, {"envp", In | Null | StrArray}}, ""},
	{61, "wait4", GroupProcess, Pass | Sleeps, PID, A{{"upid", PID}, {"stat_addr", Out | Null | tInt}, {"options", Flags | sWait}, {"ru", Out | Null | tRusage}}, ""},
	{101, "ptrace", GroupProcess, Handle, Long, A{{"request", Enum | sPtrace}, {"pid", PID}, {"addr", Any}, {"data", Any}}, "EPERM, as where tracing is forbidden (Yama, containers): a tracer would see the monitor; use `kmdev run -g` and gdb's `target remote`"},
	{109, "setpgid", GroupProcess, Pass, Int, A{{"pid", PID}, {"pgid", PID}}, ""},
	{110, "getppid", GroupProcess, Pass, PID, nil, ""},
	{111, "getpgrp", GroupProcess, Pass, PID, nil, ""},
	{112, "setsid", GroupProcess, Pass, PID, nil, ""},
	{121, "getpgid", GroupProcess, Pass, PID, A{{"pid", PID}}, ""},
	{124, "getsid", GroupProcess, Pass, PID, A{{"pid", PID}}, ""},
	{135, "personality", GroupProcess, Handle, Int, A{{"personality", Flags | sPersonality}}, ""},
	{157, "prctl", GroupProcess, Handle, Int, A{{"option", Enum | sPrctl}, {"arg2", Any}, {"arg3", Any}, {"arg4", Any}, {"arg5", Any}}, "options are typed one by one; those about the host process's own memory layout and PR_SET_SYSCALL_USER_DISPATCH are EINVAL"},
	{231, "exit_group", GroupProcess, Handle, None, A{{"error_code", Int}}, ""},
	{247, "waitid", GroupProcess, Pass | Sleeps, Int, A{{"which", Enum | sIDType}, {"upid", PID}, {"infop", Out | Null | tSiginfo}, {"options", Flags | sWait}, {"ru", Out | Null | tRusage}}, ""},
	{272, "unshare", GroupProcess, Handle, Int, A{{"unshare_flags", Flags | sUnshare}}, "a new user namespace needs a single-threaded process, which a monitor is not: EINVAL"},
	{308, "setns", GroupProcess, Handle, Int, A{{"fd", FD}, {"flags", Flags | sUnshare}}, ""},
	{312, "kcmp", GroupProcess, Handle, Int, A{{"pid1", PID}, {"pid2", PID}, {"type", Enum | sKcmp}, {"idx1", Any}, {"idx2", Any}}, ""},
	{322, "execveat", GroupProcess, Handle, Int, A{{"fd", DirFD}, {"filename", Path}, {"argv", In | StrArray}, {"envp", In | Null | StrArray}, {"flags", Flags | sAt}}, ""},
	{434, "pidfd_open", GroupProcess, Pass, FD, A{{"pid", PID}, {"flags", Flags | sPidfd}}, ""},
	{438, "pidfd_getfd", GroupProcess, Handle, FD, A{{"pidfd", FD}, {"fd", Int}, {"flags", Uint}}, "only descriptors of payloads, below RLIMIT_NOFILE"},
}

var threadRows = []Row{
	{56, "clone", GroupThread, Handle, TID, A{{"clone_flags", Flags | sClone}, {"newsp", Addr}, {"parent_tidptr", Out | Null | tInt}, {"child_tidptr", Out | Null | tInt}, {"tls", Addr}}, ""},
	{60, "exit", GroupThread, Handle, None, A{{"error_code", Int}}, ""},
	{154, "modify_ldt", GroupThread, Handle, Int, A{{"func", Int}, {"ptr", InOut | tByte | by2}, {"bytecount", Ulong}}, "an empty table, which can not be written: no 16- and 32-bit segments"},
	{158, "arch_prctl", GroupThread, Handle, Int, A{{"option", Enum | sArchPrctl}, {"arg2", Any}}, ""},
	{186, "gettid", GroupThread, Pass, TID, nil, ""},
	{202, "futex", GroupThread, Handle, Int, A{{"uaddr", InOut | tFutex}, {"op", Enum | sFutex}, {"val", Uint}, {"utime", Any}, {"uaddr2", InOut | Null | tFutex}, {"val3", Uint}}, ""},
	{205, "set_thread_area", GroupThread, Refuse | enosys, Int, A{{"u_info", InOut | tUserDesc}}, "32-bit only, ENOSYS on x86-64 Linux too"},
	{211, "get_thread_area", GroupThread, Refuse | enosys, Int, A{{"u_info", InOut | tUserDesc}}, "32-bit only, ENOSYS on x86-64 Linux too"},
	{218, "set_tid_address", GroupThread, Handle, TID, A{{"tidptr", Addr}}, ""},
	{273, "set_robust_list", GroupThread, Handle, Int, A{{"head", Addr | by1}, {"len", Size}}, ""},
	{274, "get_robust_list", GroupThread, Handle, Int, A{{"pid", TID}, {"head_ptr", Out | tPtr}, {"len_ptr", Out | tUlong}}, ""},
	{334, "rseq", GroupThread, Handle, Int, A{{"rseq", Addr | by1}, {"rseq_len", Uint}, {"flags", Flags | sRseq}, {"sig", Uint}}, ""},
	{435, "clone3", GroupThread, Handle, TID, A{{"uargs", In | tCloneArgs}, {"size", Size}}, ""},
	{449, "futex_waitv", GroupThread, Handle, Int, A{{"waiters", In | tFutexWaitv | by1}, {"nr_futexes", Uint}, {"flags", Flags | sFutex2}, {"timeout", In | Null | tTimespec}, {"clockid", Clock}}, ""},
	{454, "futex_wake", GroupThread, Pass, Int, A{{"uaddr", In | tFutex}, {"mask", Ulong}, {"nr", Int}, {"flags", Flags | sFutex2}}, ""},
	{455, "futex_wait", GroupThread, Pass | Sleeps, Int, A{{"uaddr", In | tFutex}, {"val", Ulong}, {"mask", Ulong}, {"flags", Flags | sFutex2}, {"timeout", In | Null | tTimespec}, {"clockid", Clock}}, ""},
	{456, "futex_requeue", GroupThread, Handle, Int, A{{"waiters", In | tFutexWaitv}, {"flags", Flags | sFutex2}, {"nr_wake", Int}, {"nr_requeue", Int}}, ""},
}

// Signals. They are the host's; only masks, dispositions and frames are kept
// by the monitor.
var signalRows = []Row{
	{13, "rt_sigaction", GroupSignal, Handle, Int, A{{"sig", Sig}, {"act", In | Null | tSigaction}, {"oact", Out | Null | tSigaction}, {"sigsetsize", Size}}, ""},
	{14, "rt_sigprocmask", GroupSignal, Handle, Int, A{{"how", Enum | sSigHow}, {"nset", In | Null | SigSet | by3}, {"oset", Out | Null | SigSet | by3}, {"sigsetsize", Size}}, ""},
	{15, "rt_sigreturn", GroupSignal, Handle, None, nil, ""},
	{34, "pause", GroupSignal, Handle, Int, nil, ""},
	{62, "kill", GroupSignal, Pass, Int, A{{"pid", PID}, {"sig", Sig}}, ""},
	{127, "rt_sigpending", GroupSignal, Handle, Int, A{{"uset", Out | SigSet | by1}, {"sigsetsize", Size}}, ""},
	{128, "rt_sigtimedwait", GroupSignal, Handle, Int, A{{"uthese", In | SigSet | by3}, {"uinfo", Out | Null | tSiginfo}, {"uts", In | Null | tTimespec}, {"sigsetsize", Size}}, ""},
	{129, "rt_sigqueueinfo", GroupSignal, Handle, Int, A{{"pid", PID}, {"sig", Sig}, {"uinfo", In | tSiginfo}}, ""},
	{130, "rt_sigsuspend", GroupSignal, Handle, Int, A{{"unewset", In | SigSet | by1}, {"sigsetsize", Size}}, ""},
	{131, "sigaltstack", GroupSignal, Handle, Int, A{{"uss", In | Null | tStackT}, {"uoss", Out | Null | tStackT}}, ""},
	{200, "tkill", GroupSignal, Handle, Int, A{{"pid", TID}, {"sig", Sig}}, "the monitor's own threads do not exist (ESRCH)"},
	{219, "restart_syscall", GroupSignal, Handle, Long, nil, ""},
	{234, "tgkill", GroupSignal, Handle, Int, A{{"tgid", PID}, {"pid", TID}, {"sig", Sig}}, "the monitor's own threads do not exist (ESRCH)"},
	{282, "signalfd", GroupSignal, Handle, FD, A{{"ufd", FD}, {"user_mask", In | SigSet | by2}, {"sizemask", Size}}, "SIGSTKFLT is never read: it is the monitor's kick"},
	{289, "signalfd4", GroupSignal, Handle, FD, A{{"ufd", FD}, {"user_mask", In | SigSet | by2}, {"sizemask", Size}, {"flags", Flags | sSignalfd}}, "SIGSTKFLT is never read: it is the monitor's kick"},
	{297, "rt_tgsigqueueinfo", GroupSignal, Handle, Int, A{{"tgid", PID}, {"pid", TID}, {"sig", Sig}, {"uinfo", In | tSiginfo}}, "the monitor's own threads do not exist (ESRCH)"},
	{424, "pidfd_send_signal", GroupSignal, Handle, Int, A{{"pidfd", FD}, {"sig", Sig}, {"info", In | Null | tSiginfo}, {"flags", Flags | sPidfd}}, ""},
}
