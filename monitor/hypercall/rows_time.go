package hypercall

// Clocks, timers, sleeping.
var timeRows = []Row{
	{35, "nanosleep", GroupTime, Handle, Int, A{{"rqtp", In | tTimespec}, {"rmtp", Out | Null | tTimespec}}, ""},
	{36, "getitimer", GroupTime, Pass, Int, A{{"which", Enum | sItimer}, {"value", Out | tItimerval}}, ""},
	{37, "alarm", GroupTime, Pass, Uint, A{{"seconds", Uint}}, ""},
	{38, "setitimer", GroupTime, Pass, Int, A{{"which", Enum | sItimer}, {"value", In | Null | tItimerval}, {"ovalue", Out | Null | tItimerval}}, ""},
	{96, "gettimeofday", GroupTime, Pass, Int, A{{"tv", Out | Null | tTimeval}, {"tz", Out | Null | tTimezone}}, ""},
	{100, "times", GroupTime, Pass, Long, A{{"tbuf", Out | Null | tTms}}, ""},
	{159, "adjtimex", GroupTime, Pass, Int, A{{"txc_p", InOut | tTimex}}, ""},
	{164, "settimeofday", GroupTime, Pass, Int, A{{"tv", In | Null | tTimeval}, {"tz", In | Null | tTimezone}}, ""},
	{201, "time", GroupTime, Pass, Long, A{{"tloc", Out | Null | tTime}}, ""},
	{222, "timer_create", GroupTime, Pass, Int, A{{"which_clock", Clock}, {"timer_event_spec", In | Null | tSigevent}, {"created_timer_id", Out | tInt}}, ""},
	{223, "timer_settime", GroupTime, Pass, Int, A{{"timer_id", Timer}, {"flags", Flags | sAbstime}, {"new_setting", In | tItimerspec}, {"old_setting", Out | Null | tItimerspec}}, ""},
	{224, "timer_gettime", GroupTime, Pass, Int, A{{"timer_id", Timer}, {"setting", Out | tItimerspec}}, ""},
	{225, "timer_getoverrun", GroupTime, Pass, Int, A{{"timer_id", Timer}}, ""},
	{226, "timer_delete", GroupTime, Pass, Int, A{{"timer_id", Timer}}, ""},
	{227, "clock_settime", GroupTime, Pass, Int, A{{"which_clock", Clock}, {"tp", In | tTimespec}}, ""},
	{228, "clock_gettime", GroupTime, Pass, Int, A{{"which_clock", Clock}, {"tp", Out | tTimespec}}, ""},
	{229, "clock_getres", GroupTime, Pass, Int, A{{"which_clock", Clock}, {"tp", Out | Null | tTimespec}}, ""},
	{230, "clock_nanosleep", GroupTime, Handle, Int, A{{"which_clock", Clock}, {"flags", Flags | sAbstime}, {"rqtp", In | tTimespec}, {"rmtp", Out | Null | tTimespec}}, ""},
	{283, "timerfd_create", GroupTime, Pass, FD, A{{"clockid", Clock}, {"flags", Flags | sTimerfd}}, ""},
	{286, "timerfd_settime", GroupTime, Pass, Int, A{{"ufd", FD}, {"flags", Flags | sTimerfd}, {"utmr", In | tItimerspec}, {"otmr", Out | Null | tItimerspec}}, ""},
	{287, "timerfd_gettime", GroupTime, Pass, Int, A{{"ufd", FD}, {"otmr", Out | tItimerspec}}, ""},
	{305, "clock_adjtime", GroupTime, Pass, Int, A{{"which_clock", Clock}, {"utx", InOut | tTimex}}, ""},
}

// Scheduling of the host threads, which are the payload's.
var schedRows = []Row{
	{24, "sched_yield", GroupSched, Pass, Int, nil, ""},
	{140, "getpriority", GroupSched, Pass, Int, A{{"which", Enum | sPriority}, {"who", PID}}, ""},
	{141, "setpriority", GroupSched, Pass, Int, A{{"which", Enum | sPriority}, {"who", PID}, {"niceval", Int}}, ""},
	{142, "sched_setparam", GroupSched, Pass, Int, A{{"pid", TID}, {"param", In | Null | tSchedParam}}, ""},
	{143, "sched_getparam", GroupSched, Pass, Int, A{{"pid", TID}, {"param", Out | Null | tSchedParam}}, ""},
	{144, "sched_setscheduler", GroupSched, Pass, Int, A{{"pid", TID}, {"policy", Enum | sSched}, {"param", In | Null | tSchedParam}}, ""},
	{145, "sched_getscheduler", GroupSched, Pass, Int, A{{"pid", TID}}, ""},
	{146, "sched_get_priority_max", GroupSched, Pass, Int, A{{"policy", Enum | sSched}}, ""},
	{147, "sched_get_priority_min", GroupSched, Pass, Int, A{{"policy", Enum | sSched}}, ""},
	{148, "sched_rr_get_interval", GroupSched, Pass, Int, A{{"pid", TID}, {"interval", Out | tTimespec}}, ""},
	{203, "sched_setaffinity", GroupSched, Pass | Sleeps, Int, A{{"pid", TID}, {"len", Uint}, {"user_mask_ptr", In | tByte | by1}}, ""},
	{204, "sched_getaffinity", GroupSched, Pass, Size, A{{"pid", TID}, {"len", Uint}, {"user_mask_ptr", Out | Clip | tByte | by1}}, ""},
	{251, "ioprio_set", GroupSched, Pass, Int, A{{"which", Enum | sIoprio}, {"who", PID}, {"ioprio", Int}}, ""},
	{252, "ioprio_get", GroupSched, Pass, Int, A{{"which", Enum | sIoprio}, {"who", PID}}, ""},
	{309, "getcpu", GroupSched, Pass, Int, A{{"cpup", Out | Null | tUint}, {"nodep", Out | Null | tUint}, {"unused", Ignored}}, ""},
	{314, "sched_setattr", GroupSched, Pass, Int, A{{"pid", TID}, {"uattr", In | Null | tSchedAttr}, {"flags", Uint}}, ""},
	{315, "sched_getattr", GroupSched, Pass, Int, A{{"pid", TID}, {"uattr", Out | Null | tByte | by2}, {"usize", Uint}, {"flags", Uint}}, ""},
	{324, "membarrier", GroupSched, Handle, Int, A{{"cmd", Enum | sMembarrier}, {"flags", Uint}, {"cpu_id", Int}}, "the commands for rseq are EINVAL, as on a kernel without them: docs/adr/0003-rseq.md"},
	{471, "rseq_slice_yield", GroupSched, Refuse | enosys, Int, nil, newerNote},
}

// Resource limits and usage.
var limitRows = []Row{
	{97, "getrlimit", GroupLimits, Handle, Int, A{{"resource", Enum | sRlimit}, {"rlim", Out | tRlimit}}, limitNote},
	{98, "getrusage", GroupLimits, Pass, Int, A{{"who", Enum | sRusage}, {"ru", Out | tRusage}}, ""},
	{99, "sysinfo", GroupLimits, Pass, Int, A{{"info", Out | tSysinfo}}, ""},
	{160, "setrlimit", GroupLimits, Handle, Int, A{{"resource", Enum | sRlimit}, {"rlim", In | tRlimit}}, limitNote},
	{302, "prlimit64", GroupLimits, Handle, Int, A{{"pid", PID}, {"resource", Enum | sRlimit}, {"new_rlim", In | Null | tRlimit}, {"old_rlim", Out | Null | tRlimit}}, limitNote},
}

const (
	limitNote = "RLIMIT_NOFILE, RLIMIT_AS and RLIMIT_DATA are the payload's own, and no other payload can set them; RLIMIT_NPROC counts the monitor's threads too"
	newerNote = "newer than Linux 6.18"
)
