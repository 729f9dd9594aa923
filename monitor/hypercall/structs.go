package hypercall

// Structures that arguments point to. Each constant carries the kind Ptr.
const (
	tAny Type = Ptr | iota<<structShift // layout known to the handler only
	tByte
	tUshort
	tInt
	tUint
	tLong
	tUlong
	tPtr
	tOff
	tTime
	tStat
	tStatx
	tStatfs
	tUstat
	tTimespec
	tTimeval
	tTimezone
	tItimerspec
	tItimerval
	tUtimbuf
	tTimex
	tTms
	tRusage
	tRlimit
	tSysinfo
	tUtsname
	tSigevent
	tSiginfo
	tSigaction
	tStackT
	tEpollEvent
	tPollfd
	tPselectSig
	tCapHeader
	tCapData
	tSchedParam
	tSchedAttr
	tCachestatRange
	tCachestat
	tFileHandle
	tMqAttr
	tMsqidDs
	tShmidDs
	tSembuf
	tMsgbuf
	tOpenHow
	tCloneArgs
	tFutexWaitv
	tRobustList
	tRseq
	tMountAttr
	tMntIDReq
	tXattrArgs
	tFileAttr
	tFutex
	tIocb
	tIoEvent
	tUserDesc
)

// structs gives name and size in bytes of each, in the order of the constants.
var structs = [...]struct {
	name string
	size uint16
}{
	{"", 1},
	{"byte", 1},
	{"unsigned short", 2},
	{"int", 4},
	{"unsigned int", 4},
	{"long", 8},
	{"unsigned long", 8},
	{"void *", 8},
	{"loff_t", 8},
	{"time_t", 8},
	{"struct stat", 144},
	{"struct statx", 256},
	{"struct statfs", 120},
	{"struct ustat", 32},
	{"struct timespec", 16},
	{"struct timeval", 16},
	{"struct timezone", 8},
	{"struct itimerspec", 32},
	{"struct itimerval", 32},
	{"struct utimbuf", 16},
	{"struct timex", 208},
	{"struct tms", 32},
	{"struct rusage", 144},
	{"struct rlimit", 16},
	{"struct sysinfo", 112},
	{"struct utsname", 390},
	{"struct sigevent", 64},
	{"siginfo_t", 128},
	{"struct sigaction", 32},
	{"stack_t", 24},
	{"struct epoll_event", 12},
	{"struct pollfd", 8},
	{"struct sigset_argpack", 16},
	{"struct __user_cap_header_struct", 8},
	{"struct __user_cap_data_struct", 12},
	{"struct sched_param", 4},
	{"struct sched_attr", 56},
	{"struct cachestat_range", 16},
	{"struct cachestat", 40},
	{"struct file_handle", 8},
	{"struct mq_attr", 64},
	{"struct msqid_ds", 120},
	{"struct shmid_ds", 112},
	{"struct sembuf", 6},
	{"struct msgbuf", 8},
	{"struct open_how", 24},
	{"struct clone_args", 88},
	{"struct futex_waitv", 24},
	{"struct robust_list_head", 24},
	{"struct rseq", 32},
	{"struct mount_attr", 32},
	{"struct mnt_id_req", 24},
	{"struct xattr_args", 16},
	{"struct file_attr", 24},
	{"futex", 4},
	{"struct iocb", 64},
	{"struct io_event", 32},
	{"struct user_desc", 16},
}
