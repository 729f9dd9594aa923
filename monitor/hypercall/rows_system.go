package hypercall

// Identity and rights. They belong to the host thread, as on Linux.
var securityRows = []Row{
	{102, "getuid", GroupSecurity, Pass, UID, nil, ""},
	{104, "getgid", GroupSecurity, Pass, GID, nil, ""},
	{105, "setuid", GroupSecurity, Pass, Int, A{{"uid", UID}}, ""},
	{106, "setgid", GroupSecurity, Pass, Int, A{{"gid", GID}}, ""},
	{107, "geteuid", GroupSecurity, Pass, UID, nil, ""},
	{108, "getegid", GroupSecurity, Pass, GID, nil, ""},
	{113, "setreuid", GroupSecurity, Pass, Int, A{{"ruid", UID}, {"euid", UID}}, ""},
	{114, "setregid", GroupSecurity, Pass, Int, A{{"rgid", GID}, {"egid", GID}}, ""},
	{115, "getgroups", GroupSecurity, Pass, Int, A{{"gidsetsize", Int}, {"grouplist", Out | Clip | tUint | by0}}, ""},
	{116, "setgroups", GroupSecurity, Pass, Int, A{{"gidsetsize", Int}, {"grouplist", In | tUint | by0}}, ""},
	{117, "setresuid", GroupSecurity, Pass, Int, A{{"ruid", UID}, {"euid", UID}, {"suid", UID}}, ""},
	{118, "getresuid", GroupSecurity, Pass, Int, A{{"ruidp", Out | tUint}, {"euidp", Out | tUint}, {"suidp", Out | tUint}}, ""},
	{119, "setresgid", GroupSecurity, Pass, Int, A{{"rgid", GID}, {"egid", GID}, {"sgid", GID}}, ""},
	{120, "getresgid", GroupSecurity, Pass, Int, A{{"rgidp", Out | tUint}, {"egidp", Out | tUint}, {"sgidp", Out | tUint}}, ""},
	{122, "setfsuid", GroupSecurity, Pass, UID, A{{"uid", UID}}, ""},
	{123, "setfsgid", GroupSecurity, Pass, GID, A{{"gid", GID}}, ""},
	{125, "capget", GroupSecurity, Pass, Int, A{{"header", InOut | tCapHeader}, {"dataptr", Out | Null | tCapData}}, ""},
	{126, "capset", GroupSecurity, Pass, Int, A{{"header", InOut | tCapHeader}, {"data", In | tCapData}}, ""},
	{248, "add_key", GroupSecurity, Pass | Sleeps, Key, A{{"type", Str}, {"description", Str | Null}, {"payload", In | Null | tByte | by3}, {"plen", Size}, {"ringid", Key}}, ""},
	{249, "request_key", GroupSecurity, Pass | Sleeps, Key, A{{"type", Str}, {"description", Str}, {"callout_info", Str | Null}, {"destringid", Key}}, ""},
	{250, "keyctl", GroupSecurity, Handle, Long, A{{"option", Enum | sKeyctl}, {"arg2", Any}, {"arg3", Any}, {"arg4", Any}, {"arg5", Any}}, ""},
	{317, "seccomp", GroupSecurity, Handle, Int, A{{"op", Enum | sSeccomp}, {"flags", Flags | sSeccomp}, {"args", In | Null | tAny}}, "kept by the monitor: filters see the payload's calls only; SECCOMP_FILTER_FLAG_NEW_LISTENER is EINVAL, as before Linux 5.0"},
	{444, "landlock_create_ruleset", GroupSecurity, Handle, FD, A{{"attr", In | Null | tByte | by1}, {"size", Size}, {"flags", Flags | sLandlock}}, ""},
	{445, "landlock_add_rule", GroupSecurity, Handle, Int, A{{"ruleset_fd", FD}, {"rule_type", Enum | sLandlock}, {"rule_attr", In | tAny}, {"flags", Uint}}, ""},
	{446, "landlock_restrict_self", GroupSecurity, Handle, Int, A{{"ruleset_fd", FD}, {"flags", Flags | sLandlock}}, "ABI 7 at most, on hosts with Linux 6.14 or later, else EOPNOTSUPP; a program to execute must be readable too"},
	{459, "lsm_get_self_attr", GroupSecurity, Pass, Int, A{{"attr", Enum | sLSM}, {"ctx", Out | Null | tAny}, {"size", InOut | tUint}, {"flags", Flags | sLSM}}, ""},
	{460, "lsm_set_self_attr", GroupSecurity, Pass, Int, A{{"attr", Enum | sLSM}, {"ctx", In | tByte | by2}, {"size", Uint}, {"flags", Flags | sLSM}}, ""},
	{461, "lsm_list_modules", GroupSecurity, Pass, Int, A{{"ids", Out | tUlong}, {"size", InOut | tUint}, {"flags", Uint}}, ""},
}

// The machine as a whole.
var systemRows = []Row{
	{63, "uname", GroupSystem, Handle, Int, A{{"name", Out | tUtsname}}, "release carries .kontain.KVM; --uname overrides fields"},
	{103, "syslog", GroupSystem, Pass | Sleeps, Int, A{{"type", Enum | sSyslog}, {"buf", Out | Clip | Null | tByte | by2}, {"len", Int}}, ""},
	{153, "vhangup", GroupSystem, Pass | Sleeps, Int, nil, ""},
	{169, "reboot", GroupSystem, Refuse | eperm, Int, A{{"magic1", Int}, {"magic2", Int}, {"cmd", Enum | sReboot}, {"arg", Any}}, "as without CAP_SYS_BOOT: a payload does not reboot the host"},
	{170, "sethostname", GroupSystem, Pass, Int, A{{"name", In | tByte | by1}, {"len", Int}}, ""},
	{171, "setdomainname", GroupSystem, Pass, Int, A{{"name", In | tByte | by1}, {"len", Int}}, ""},
	{172, "iopl", GroupSystem, Refuse | enosys, Int, A{{"level", Uint}}, "as on a kernel without CONFIG_X86_IOPL_IOPERM: the ports of a VM are not the host's; use /dev/port or the device's driver"},
	{173, "ioperm", GroupSystem, Refuse | enosys, Int, A{{"from", Ulong}, {"num", Ulong}, {"turn_on", Int}}, "as on a kernel without CONFIG_X86_IOPL_IOPERM: the ports of a VM are not the host's; use /dev/port or the device's driver"},
	{175, "init_module", GroupSystem, Refuse | eperm, Int, A{{"umod", In | tByte | by1}, {"len", Ulong}, {"uargs", Str}}, moduleNote},
	{176, "delete_module", GroupSystem, Refuse | eperm, Int, A{{"name_user", Str}, {"flags", Flags | sModule}}, moduleNote},
	{246, "kexec_load", GroupSystem, Refuse | eperm, Int, A{{"entry", Ulong}, {"nr_segments", Ulong}, {"segments", In | tAny}, {"flags", Flags | sKexec}}, moduleNote},
	{298, "perf_event_open", GroupSystem, Refuse | eacces, FD, A{{"attr_uptr", In | tAny}, {"pid", PID}, {"cpu", Int}, {"group_fd", FD}, {"flags", Flags | sPerf}}, "as with kernel.perf_event_paranoid=3: events would count the monitor, not the payload; run perf on the host"},
	{313, "finit_module", GroupSystem, Refuse | eperm, Int, A{{"fd", FD}, {"uargs", Str}, {"flags", Flags | sModule}}, moduleNote},
	{318, "getrandom", GroupSystem, Pass | Sleeps, Size, A{{"ubuf", Out | Clip | tByte | by1}, {"len", Size}, {"flags", Flags | sRandom}}, ""},
	{320, "kexec_file_load", GroupSystem, Refuse | eperm, Int, A{{"kernel_fd", FD}, {"initrd_fd", FD}, {"cmdline_len", Ulong}, {"cmdline_ptr", In | tByte | by2}, {"flags", Flags | sKexec}}, moduleNote},
	{321, "bpf", GroupSystem, Refuse | eperm, Int, A{{"cmd", Enum | sBPF}, {"uattr", InOut | tByte | by2}, {"size", Uint}}, "as with kernel.unprivileged_bpf_disabled=1: programs would see the monitor's memory and calls; load them on the host"},
	{335, "uretprobe", GroupSystem, Refuse | enosys, Long, nil, "the kernel's own trampoline, not for programs"},
	{336, "uprobe", GroupSystem, Refuse | enosys, Long, nil, "the kernel's own trampoline, not for programs"},
	{470, "listns", GroupSystem, Refuse | enosys, Size, A{{"req", In | tAny}, {"ns_ids", Out | tUlong | by2}, {"nr_ns_ids", Size}, {"flags", Uint}}, newerNote},
}

// Calls that Linux reserves or has removed.
var obsoleteRows = []Row{
	{134, "uselib", GroupObsolete, Refuse | enosys, Int, A{{"library", Path}}, "removed from Linux: a.out libraries"},
	{139, "sysfs", GroupObsolete, Refuse | enosys, Int, A{{"option", Int}, {"arg1", Any}, {"arg2", Any}}, "obsolete: read /proc/filesystems"},
	{156, "_sysctl", GroupObsolete, Refuse | enosys, Int, A{{"args", In | tAny}}, "removed from Linux 5.5: use /proc/sys"},
	{174, "create_module", GroupObsolete, Refuse | enosys, Addr, A{{"name", Str}, {"size", Size}}, "removed from Linux 2.6"},
	{177, "get_kernel_syms", GroupObsolete, Refuse | enosys, Int, A{{"table", Out | tAny}}, "removed from Linux 2.6"},
	{178, "query_module", GroupObsolete, Refuse | enosys, Int, A{{"name", Str}, {"which", Int}, {"buf", Out | tByte | by3}, {"bufsize", Size}, {"ret", Out | tUlong}}, "removed from Linux 2.6"},
	{180, "nfsservctl", GroupObsolete, Refuse | enosys, Long, A{{"cmd", Int}, {"argp", In | tAny}, {"resp", Out | tAny}}, "removed from Linux 3.1"},
	{181, "getpmsg", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{182, "putpmsg", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{183, "afs_syscall", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{184, "tuxcall", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{185, "security", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{212, "lookup_dcookie", GroupObsolete, Refuse | enosys, Int, A{{"cookie64", Ulong}, {"buf", Out | tByte | by2}, {"len", Size}}, "removed from Linux 6.7"},
	{214, "epoll_ctl_old", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{215, "epoll_wait_old", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
	{236, "vserver", GroupObsolete, Refuse | enosys, Int, nil, neverNote},
}

const (
	moduleNote = "as without the capability: a payload does not change the host's kernel; do it on the host"
	neverNote  = "never implemented by Linux"
)
