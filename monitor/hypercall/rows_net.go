package hypercall

// Sockets.
var netRows = []Row{
	{41, "socket", GroupNet, Pass | Sleeps, FD, A{{"family", Enum | sFamily}, {"type", Flags | sSockType}, {"protocol", Int}}, ""},
	{42, "connect", GroupNet, Pass | Sleeps, Int, A{{"fd", FD}, {"uservaddr", In | Sockaddr | by2}, {"addrlen", Int}}, ""},
	{43, "accept", GroupNet, Pass | Sleeps, FD, A{{"fd", FD}, {"upeer_sockaddr", Out | Null | Sockaddr | by2}, {"upeer_addrlen", InOut | Null | tInt}}, ""},
	{44, "sendto", GroupNet, Pass | Sleeps, Size, A{{"fd", FD}, {"buff", In | tByte | by2}, {"len", Size}, {"flags", Flags | sMsg}, {"addr", In | Null | Sockaddr | by5}, {"addr_len", Int}}, ""},
	{45, "recvfrom", GroupNet, Pass | Sleeps, Size, A{{"fd", FD}, {"ubuf", Out | tByte | by2}, {"size", Size}, {"flags", Flags | sMsg}, {"addr", Out | Null | Sockaddr | by5}, {"addr_len", InOut | Null | tInt}}, ""},
	{46, "sendmsg", GroupNet, Handle, Size, A{{"fd", FD}, {"msg", In | Msghdr}, {"flags", Flags | sMsg}}, ""},
	{47, "recvmsg", GroupNet, Handle, Size, A{{"fd", FD}, {"msg", InOut | Msghdr}, {"flags", Flags | sMsg}}, ""},
	{48, "shutdown", GroupNet, Pass | Sleeps, Int, A{{"fd", FD}, {"how", Enum | sShut}}, ""},
	{49, "bind", GroupNet, Pass | Sleeps, Int, A{{"fd", FD}, {"umyaddr", In | Sockaddr | by2}, {"addrlen", Int}}, ""},
	{50, "listen", GroupNet, Pass | Sleeps, Int, A{{"fd", FD}, {"backlog", Int}}, ""},
	{51, "getsockname", GroupNet, Pass | Sleeps, Int, A{{"fd", FD}, {"usockaddr", Out | Sockaddr | by2}, {"usockaddr_len", InOut | tInt}}, ""},
	{52, "getpeername", GroupNet, Pass | Sleeps, Int, A{{"fd", FD}, {"usockaddr", Out | Sockaddr | by2}, {"usockaddr_len", InOut | tInt}}, ""},
	{53, "socketpair", GroupNet, Handle, Int, A{{"family", Enum | sFamily}, {"type", Flags | sSockType}, {"protocol", Int}, {"usockvec", Out | tInt}}, ""},
	{54, "setsockopt", GroupNet, Handle, Int, A{{"fd", FD}, {"level", Enum | sSockLevel}, {"optname", Enum | sSockOpt}, {"optval", In | Null | tByte | by4}, {"optlen", Int}}, "options whose value holds pointers are typed one by one; iptables, XDP and RDS memory registration are ENOPROTOOPT"},
	{55, "getsockopt", GroupNet, Handle, Int, A{{"fd", FD}, {"level", Enum | sSockLevel}, {"optname", Enum | sSockOpt}, {"optval", InOut | Null | tAny}, {"optlen", InOut | tInt}}, ""},
	{288, "accept4", GroupNet, Pass | Sleeps, FD, A{{"fd", FD}, {"upeer_sockaddr", Out | Null | Sockaddr | by2}, {"upeer_addrlen", InOut | Null | tInt}, {"flags", Flags | sSockType}}, ""},
	{299, "recvmmsg", GroupNet, Handle, Int, A{{"fd", FD}, {"mmsg", InOut | Mmsghdr | by2}, {"vlen", Uint}, {"flags", Flags | sMsg}, {"timeout", InOut | Null | tTimespec}}, ""},
	{307, "sendmmsg", GroupNet, Handle, Int, A{{"fd", FD}, {"mmsg", InOut | Mmsghdr | by2}, {"vlen", Uint}, {"flags", Flags | sMsg}}, ""},
}

// Waiting for several descriptors.
var muxRows = []Row{
	{7, "poll", GroupIOMux, Handle, Int, A{{"ufds", InOut | tPollfd | by1}, {"nfds", Uint}, {"timeout_msecs", Int}}, ""},
	{23, "select", GroupIOMux, Handle, Int, A{{"n", Int}, {"inp", InOut | Null | FDSet | by0}, {"outp", InOut | Null | FDSet | by0}, {"exp", InOut | Null | FDSet | by0}, {"tvp", InOut | Null | tTimeval}}, ""},
	{206, "io_setup", GroupIOMux, Handle, Int, A{{"nr_events", Uint}, {"ctxp", InOut | tUlong}}, aioNote},
	{207, "io_destroy", GroupIOMux, Handle, Int, A{{"ctx", Cookie}}, ""},
	{208, "io_getevents", GroupIOMux, Handle, Int, A{{"ctx_id", Cookie}, {"min_nr", Long}, {"nr", Long}, {"events", Out | tIoEvent | by2}, {"timeout", In | Null | tTimespec}}, ""},
	{209, "io_submit", GroupIOMux, Handle, Int, A{{"ctx_id", Cookie}, {"nr", Long}, {"iocbpp", In | tPtr | by1}}, ""},
	{210, "io_cancel", GroupIOMux, Handle, Int, A{{"ctx_id", Cookie}, {"iocb", In | tIocb}, {"result", Out | tIoEvent}}, ""},
	{213, "epoll_create", GroupIOMux, Pass, FD, A{{"size", Int}}, ""},
	{232, "epoll_wait", GroupIOMux, Handle, Int, A{{"epfd", FD}, {"events", Out | tEpollEvent | by2}, {"maxevents", Int}, {"timeout", Int}}, ""},
	{233, "epoll_ctl", GroupIOMux, Pass | Sleeps, Int, A{{"epfd", FD}, {"op", Enum | sEpollOp}, {"fd", FD}, {"event", In | Null | tEpollEvent}}, ""},
	{270, "pselect6", GroupIOMux, Handle, Int, A{{"n", Int}, {"inp", InOut | Null | FDSet | by0}, {"outp", InOut | Null | FDSet | by0}, {"exp", InOut | Null | FDSet | by0}, {"tsp", InOut | Null | tTimespec}, {"sig", In | Null | tPselectSig}}, ""},
	{271, "ppoll", GroupIOMux, Handle, Int, A{{"ufds", InOut | tPollfd | by1}, {"nfds", Uint}, {"tsp", InOut | Null | tTimespec}, {"sigmask", In | Null | SigSet | by4}, {"sigsetsize", Size}}, ""},
	{281, "epoll_pwait", GroupIOMux, Handle, Int, A{{"epfd", FD}, {"events", Out | tEpollEvent | by2}, {"maxevents", Int}, {"timeout", Int}, {"sigmask", In | Null | SigSet | by5}, {"sigsetsize", Size}}, ""},
	{284, "eventfd", GroupIOMux, Pass, FD, A{{"count", Uint}}, ""},
	{290, "eventfd2", GroupIOMux, Pass, FD, A{{"count", Uint}, {"flags", Flags | sEventfd}}, ""},
	{291, "epoll_create1", GroupIOMux, Pass, FD, A{{"flags", Flags | sEpoll}}, ""},
	{333, "io_pgetevents", GroupIOMux, Handle, Int, A{{"ctx_id", Cookie}, {"min_nr", Long}, {"nr", Long}, {"events", Out | tIoEvent | by2}, {"timeout", In | Null | tTimespec}, {"usig", In | Null | tPselectSig}}, ""},
	{425, "io_uring_setup", GroupIOMux, Refuse | eperm, FD, A{{"entries", Uint}, {"p", InOut | tAny}}, uringNote},
	{426, "io_uring_enter", GroupIOMux, Refuse | eperm, Int, A{{"fd", FD}, {"to_submit", Uint}, {"min_complete", Uint}, {"flags", Flags | sIoUring}, {"argp", In | Null | tByte | by5}, {"argsz", Size}}, uringNote},
	{427, "io_uring_register", GroupIOMux, Refuse | eperm, Int, A{{"fd", FD}, {"opcode", Enum | sIoUring}, {"arg", InOut | Null | tAny}, {"nr_args", Uint}}, uringNote},
	{441, "epoll_pwait2", GroupIOMux, Handle, Int, A{{"epfd", FD}, {"events", Out | tEpollEvent | by2}, {"maxevents", Int}, {"timeout", In | Null | tTimespec}, {"sigmask", In | Null | SigSet | by5}, {"sigsetsize", Size}}, ""},
}

const (
	aioNote   = "completions come from io_getevents only: the ring in the payload's memory is empty and without its magic number, which libaio understands"
	uringNote = "as with kernel.io_uring_disabled=2 and in most containers: the kernel would read addresses from rings in the payload's memory, which are not the host's; programs fall back to epoll, threads or AIO"
)
