package sys

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

func TestLimits(t *testing.T) {
	k := newTask(t)
	buf := k.Map(1)
	rlimit := func(cur, max uint64) gva {
		b := make([]byte, 16)
		put64(b, cur)
		put64(b[8:], max)
		return k.Put(b)
	}
	want(t, "getrlimit", k.Do(unix.SYS_GETRLIMIT, unix.RLIMIT_NOFILE, buf), 0)
	if le64(k.Read(buf, 8)) != faketask.Limit || le64(k.Read(buf+8, 8)) != faketask.Limit {
		t.Errorf("RLIMIT_NOFILE %d of %d", le64(k.Read(buf, 8)), le64(k.Read(buf+8, 8)))
	}
	want(t, "prlimit64", k.Do(unix.SYS_PRLIMIT64, os.Getpid(), unix.RLIMIT_NOFILE, rlimit(100, 600), buf), 0)
	if le64(k.Read(buf, 8)) != faketask.Limit {
		t.Errorf("old limit %d", le64(k.Read(buf, 8)))
	}
	if l, _ := k.Proc.Rlimit(unix.RLIMIT_NOFILE); l.Cur != 100 || l.Max != 600 {
		t.Errorf("limit is now %v", l)
	}
	wantErr(t, "soft above hard", k.Do(unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, rlimit(700, 600)), unix.EINVAL)
	wantErr(t, "above the monitor's", k.Do(unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, rlimit(100, 1<<20)), unix.EPERM)
	wantErr(t, "setrlimit of NULL", k.Do(unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, gva(0)), unix.EFAULT)
	for _, c := range [][]any{{0, 99, 0, buf}, {0, unix.RLIMIT_CORE, 0, buf}, {0, unix.RLIMIT_CORE, 0, buf + page}, {0, unix.RLIMIT_CORE, buf + page, 0},
		{1 << 30, unix.RLIMIT_CORE, 0, buf}, {0, unix.RLIMIT_CORE, rlimit(2, 1), 0}, {0, unix.RLIMIT_NOFILE, buf + page, 0}} {
		same(t, k, unix.SYS_PRLIMIT64, c...)
	}
	want(t, "RLIMIT_CORE", k.Do(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, 0, buf), 0)
	var native unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &native); err != nil || native.Max != le64(k.Read(buf+8, 8)) {
		t.Errorf("RLIMIT_CORE: %v, natively %v (%v)", le64(k.Read(buf+8, 8)), native.Max, err)
	}
}

func TestUname(t *testing.T) {
	k := newTask(t)
	k.Proc.NameChange = func(u *unix.Utsname) { copy(u.Release[:], "changed\x00") }
	buf := k.Map(1)
	want(t, "uname", k.Do(unix.SYS_UNAME, buf), 0)
	b := k.Read(buf, 6*utsField)
	if unix.ByteSliceToString(b) != "Linux" || unix.ByteSliceToString(b[2*utsField:]) != "changed" || unix.ByteSliceToString(b[4*utsField:]) != "x86_64" {
		t.Errorf("uname %q", b)
	}
	wantErr(t, "uname into a hole", k.Do(unix.SYS_UNAME, buf+page-100), unix.EFAULT)
}

func TestPrctl(t *testing.T) {
	k := newTask(t)
	buf := k.Map(1)
	want(t, "PR_SET_NAME", k.Do(unix.SYS_PRCTL, unix.PR_SET_NAME, k.Str("a name")), 0)
	want(t, "PR_GET_NAME", k.Do(unix.SYS_PRCTL, unix.PR_GET_NAME, buf), 0)
	if got := unix.ByteSliceToString(k.Read(buf, 16)); got != "a name" {
		t.Errorf("PR_GET_NAME %q", got)
	}
	for _, c := range [][]any{
		{unix.PR_GET_DUMPABLE, 0, 0, 0, 0}, {unix.PR_GET_NAME, buf + page}, {unix.PR_SET_NAME, buf + page}, {unix.PR_GET_PDEATHSIG, buf},
		{unix.PR_GET_PDEATHSIG, gva(1 << 62)}, {unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0}, {unix.PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0},
		{unix.PR_CAPBSET_READ, 0, 0, 0, 0}, {unix.PR_CAPBSET_READ, 999, 0, 0, 0}, {unix.PR_GET_TIMERSLACK, 0, 0, 0, 0},
		{unix.PR_GET_TSC, buf}, {unix.PR_GET_TSC, buf + page}, {unix.PR_SET_TSC, unix.PR_TSC_ENABLE}, {unix.PR_SET_TSC, 77}, {12345, 0, 0, 0, 0},
	} {
		same(t, k, unix.SYS_PRCTL, c...)
	}
	for _, option := range []int{unix.PR_SET_SECCOMP, unix.PR_SET_SYSCALL_USER_DISPATCH, unix.PR_GET_TID_ADDRESS, unix.PR_SET_VMA, unix.PR_SET_MDWE} {
		wantErr(t, "refused option", k.Do(unix.SYS_PRCTL, option, 1, buf, 0, 0), unix.EINVAL)
	}
	wantErr(t, "PR_SET_TSC", k.Do(unix.SYS_PRCTL, unix.PR_SET_TSC, unix.PR_TSC_SIGSEGV), unix.EINVAL)
	wantErr(t, "PR_GET_NAME to a host address", k.Do(unix.SYS_PRCTL, unix.PR_GET_NAME, uint64(buf)+usermem.Window), unix.EFAULT)
}

func TestSystemV(t *testing.T) {
	k := newTask(t)
	sem, buf := semaphore(t, k), k.Map(1)
	const setAll, getAll, setVal, getVal, ipcStat = 17, 13, 16, 12, 2
	k.Write(buf, []byte{5, 0})
	want(t, "SETALL", k.Do(unix.SYS_SEMCTL, sem, 0, setAll, buf), 0)
	want(t, "GETVAL", k.Do(unix.SYS_SEMCTL, sem, 0, getVal, 0), 5)
	want(t, "SETVAL", k.Do(unix.SYS_SEMCTL, sem, 0, setVal, 7), 0)
	want(t, "GETALL", k.Do(unix.SYS_SEMCTL, sem, 0, getAll, buf), 0)
	if k.Read(buf, 1)[0] != 7 {
		t.Errorf("GETALL read %d", k.Read(buf, 1)[0])
	}
	same(t, k, unix.SYS_SEMCTL, sem, 0, ipcStat, buf)
	same(t, k, unix.SYS_SEMCTL, sem, 0, getAll, buf+page)
	same(t, k, unix.SYS_SEMCTL, sem, 0, 99, buf)
	wantErr(t, "GETALL to a host address", k.Do(unix.SYS_SEMCTL, sem, 0, getAll, uint64(buf)+usermem.Window), unix.EFAULT)
	op := k.Put([]byte{0, 0, 0xfb, 0xff, 0, 0}) // -5
	want(t, "semop", k.Do(unix.SYS_SEMOP, sem, op, 1), 0)
	same(t, k, unix.SYS_SEMOP, sem, op+page, 1)
	same(t, k, unix.SYS_SEMOP, sem, op, 0)
	same(t, k, unix.SYS_SEMTIMEDOP, sem, op, 1, k.Put(timespec(-1)))

	q := k.Do(unix.SYS_MSGGET, unix.IPC_PRIVATE, 0o600)
	if e := hypercall.Errno(q); e != 0 {
		t.Fatal(e)
	}
	t.Cleanup(func() { k.Native(unix.SYS_MSGCTL, q, 0, 0) })
	msg := k.Put([]byte("\x03\x00\x00\x00\x00\x00\x00\x00hello"))
	want(t, "msgsnd", k.Do(unix.SYS_MSGSND, q, msg, 5, 0), 0)
	same(t, k, unix.SYS_MSGSND, q, msg+page, 5, 0)
	same(t, k, unix.SYS_MSGSND, q, msg, -1, 0)
	same(t, k, unix.SYS_MSGSND, q, msg+page-8, 1<<12, 0)
	want(t, "msgrcv", k.Do(unix.SYS_MSGRCV, q, buf, 100, 0, unix.IPC_NOWAIT), 5)
	if got := string(k.Read(buf, 13)); got != "\x03\x00\x00\x00\x00\x00\x00\x00hello" {
		t.Errorf("msgrcv %q", got)
	}
	same(t, k, unix.SYS_MSGRCV, q, buf, 100, 0, unix.IPC_NOWAIT)
	same(t, k, unix.SYS_MSGRCV, q, buf, -1, 0, unix.IPC_NOWAIT)
	same(t, k, unix.SYS_MSGCTL, q, ipcStat, buf)
}

func TestProcessMemory(t *testing.T) {
	k := newTask(t)
	src, dst := k.Put([]byte("payload's text")), k.Map(1)
	local, remote := iovec(k, uint64(dst), 14), iovec(k, uint64(src), 14)
	want(t, "process_vm_readv", k.Do(unix.SYS_PROCESS_VM_READV, os.Getpid(), local, 1, remote, 1, 0), 14)
	if got := string(k.Read(dst, 14)); got != "payload's text" {
		t.Errorf("read %q", got)
	}
	victim := []byte("monitor's own!")
	own := iovec(k, uint64(addressOf(victim)), 14)
	wantErr(t, "process_vm_readv of the monitor", k.Do(unix.SYS_PROCESS_VM_READV, os.Getpid(), local, 1, own, 1, 0), unix.EFAULT)
	wantErr(t, "process_vm_writev of the monitor", k.Do(unix.SYS_PROCESS_VM_WRITEV, os.Getpid(), local, 1, own, 1, 0), unix.EFAULT)
	wantErr(t, "process_vm_writev by a thread's id", k.Do(unix.SYS_PROCESS_VM_WRITEV, k.Tid(), local, 1, own, 1, 0), unix.EFAULT)
	wantErr(t, "process_vm_writev by a monitor thread's id", k.Do(unix.SYS_PROCESS_VM_WRITEV, otherThread(t, k), local, 1, own, 1, 0), unix.EFAULT)
	if string(victim) != "monitor's own!" {
		t.Errorf("the monitor's memory is now %q", victim)
	}
	wantErr(t, "too many", k.Do(unix.SYS_PROCESS_VM_READV, os.Getpid(), local, 1, remote, 1025, 0), unix.EINVAL)
	pages := make([]byte, 16)
	put64(pages, uint64(src))
	put64(pages[8:], uint64(src)+page)
	k.Read(src, 1)
	r := k.Do(unix.SYS_MOVE_PAGES, 0, 2, k.Put(pages), 0, dst, 0)
	if e := hypercall.Errno(r); e == unix.ENOSYS {
		t.Skip("no NUMA")
	}
	want(t, "move_pages", r, 0)
	if node, e := int32(le32(k.Read(dst, 4))), int32(le32(k.Read(dst+4, 4))); node < 0 || e != -int32(unix.EFAULT) && e != -int32(unix.ENOENT) {
		t.Errorf("nodes %d %d", node, e)
	}
}

func TestProcesses(t *testing.T) {
	k := newTask(t)
	own := secret(t, k)
	pidfd := k.FD(k.Do(unix.SYS_PIDFD_OPEN, os.Getpid(), 0))
	wantErr(t, "pidfd_getfd", k.Do(unix.SYS_PIDFD_GETFD, pidfd, own, 0), unix.EBADF)
	k.FD(k.Do(unix.SYS_PIDFD_GETFD, pidfd, pidfd, 0))
	want(t, "pidfd_send_signal", k.Do(unix.SYS_PIDFD_SEND_SIGNAL, pidfd, 0, 0, 0), 0)
	fd := k.FD(k.Do(unix.SYS_DUP, pidfd))
	if r := k.Do(unix.SYS_KCMP, os.Getpid(), os.Getpid(), 0, fd, pidfd); hypercall.Errno(r) != unix.ENOSYS {
		want(t, "kcmp", r, 0)
		wantErr(t, "kcmp of the monitor's", k.Do(unix.SYS_KCMP, os.Getpid(), os.Getpid(), 0, fd, own), unix.EBADF)
	}
	want(t, "unshare of what is not shared", k.Do(unix.SYS_UNSHARE, unix.CLONE_FILES|unix.CLONE_FS), 0)
	want(t, "unshare of nothing", k.Do(unix.SYS_UNSHARE, 0), 0)
	same(t, k, unix.SYS_UNSHARE, 1)
	wantErr(t, "unshare(CLONE_NEWUSER)", k.Do(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), unix.EINVAL)
}

func TestQueuesAndKeys(t *testing.T) {
	k := newTask(t)
	r := k.Do(unix.SYS_MQ_OPEN, k.Str("kmdev-test-"+itoa(os.Getpid())), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600, 0)
	if hypercall.Errno(r) == 0 {
		q := k.FD(r)
		k.Native(unix.SYS_MQ_UNLINK, k.Str("kmdev-test-"+itoa(os.Getpid())))
		event := make([]byte, 64)
		put32(event[8:], uint32(unix.SIGUSR1))
		want(t, "mq_notify", k.Do(unix.SYS_MQ_NOTIFY, q, k.Put(event)), 0)
		want(t, "mq_notify of NULL", k.Do(unix.SYS_MQ_NOTIFY, q, gva(0)), 0)
		put32(event[12:], 2)
		put32(event[8:], uint32(secret(t, k)))
		put64(event, uint64(k.Map(1)))
		wantErr(t, "mq_notify through the monitor's socket", k.Do(unix.SYS_MQ_NOTIFY, q, k.Put(event)), unix.EBADF)
		put64(event, uint64(k.Map(1))+usermem.Window)
		wantErr(t, "mq_notify with a cookie of the host's", k.Do(unix.SYS_MQ_NOTIFY, q, k.Put(event)), unix.EFAULT)
		text := k.Put([]byte("text"))
		want(t, "mq_timedsend", k.Do(unix.SYS_MQ_TIMEDSEND, q, text, 4, 3, 0), 0)
		buf := k.Map(3)
		want(t, "mq_timedreceive", k.Do(unix.SYS_MQ_TIMEDRECEIVE, q, buf, 8192, buf+2*page, 0), 4)
	}
	key := k.Do(unix.SYS_ADD_KEY, k.Str("user"), k.Str("kmdev test"), k.Put([]byte("password")), 8, unix.KEY_SPEC_THREAD_KEYRING)
	if e := hypercall.Errno(key); e != 0 {
		t.Skip("add_key:", e)
	}
	buf := k.Map(1)
	want(t, "KEYCTL_READ", k.Do(unix.SYS_KEYCTL, unix.KEYCTL_READ, key, buf, 100, 0), 8)
	if string(k.Read(buf, 8)) != "password" {
		t.Errorf("read %q", k.Read(buf, 8))
	}
	same(t, k, unix.SYS_KEYCTL, unix.KEYCTL_DESCRIBE, key, buf, 100)
	same(t, k, unix.SYS_KEYCTL, unix.KEYCTL_READ, key, buf+page, 100)
	same(t, k, unix.SYS_KEYCTL, 999)
	wantErr(t, "KEYCTL_READ to a host address", k.Do(unix.SYS_KEYCTL, unix.KEYCTL_READ, key, uint64(buf)+usermem.Window, 100), unix.EFAULT)
	want(t, "KEYCTL_INVALIDATE", k.Do(unix.SYS_KEYCTL, unix.KEYCTL_INVALIDATE, key), 0)
}

func TestMount(t *testing.T) {
	k := newTask(t)
	dir := k.Str(t.TempDir())
	for _, c := range [][]any{
		{dir, dir + page, k.Str("none"), 0, 0}, {dir, k.Str("/nowhere"), k.Str("tmpfs"), 0, 0}, {gva(0), dir, k.Str("nosuchfs"), 0, 0},
		{gva(0), dir, gva(0), 0, 0}, {gva(0), dir, k.Str("tmpfs"), 0, dir + page},
	} {
		same(t, k, unix.SYS_MOUNT, c...)
	}
	wantErr(t, "binary NFS data", k.Do(unix.SYS_MOUNT, dir, dir, k.Str("nfs4"), 0, k.Put([]byte{1, 0, 0, 0, 9})), unix.EINVAL)
	same(t, k, unix.SYS_QUOTACTL, 0x800001<<8, gva(0), 0, gva(0))
	tree := k.FD(k.Do(unix.SYS_OPEN_TREE, unix.AT_FDCWD, dir, unix.O_CLOEXEC))
	var st, st2 unix.Stat_t
	unix.Fstat(tree, &st)
	unix.Stat(strings.TrimRight(string(k.Read(dir, 200)), "\x00"), &st2)
	if st.Ino != st2.Ino {
		t.Error("open_tree opened something else")
	}
	fs := k.Do(unix.SYS_FSOPEN, k.Str("tmpfs"), unix.FSOPEN_CLOEXEC)
	if e := hypercall.Errno(fs); e != 0 {
		t.Skip("fsopen:", e)
	}
	fd := k.FD(fs)
	want(t, "fsconfig", k.Do(unix.SYS_FSCONFIG, fd, unix.FSCONFIG_SET_STRING, k.Str("size"), k.Str("1M"), 0), 0)
	same(t, k, unix.SYS_FSCONFIG, fd, unix.FSCONFIG_SET_STRING, k.Str("size"), k.Map(1)+page, 0)
	same(t, k, unix.SYS_FSCONFIG, fd, 99, k.Str("size"), 0, 0)
	wantErr(t, "fsconfig with the monitor's", k.Do(unix.SYS_FSCONFIG, fd, unix.FSCONFIG_SET_FD, k.Str("size"), 0, secret(t, k)), unix.EBADF)
}

func TestChrootKeepsProc(t *testing.T) {
	k := newTask(t)
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	wantErr(t, "chroot to nowhere", k.Do(unix.SYS_CHROOT, k.Str("/nowhere")), unix.ENOENT)
	// The thread gets a root of its own, and ends with the test.
	done := make(chan struct{})
	go func() {
		defer close(done)
		k := faketask.New(t, k.Proc)
		k.Handlers = handlers
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			t.Error(err)
			return
		}
		want(t, "chroot", k.Do(unix.SYS_CHROOT, k.Str(dir)), 0)
		want(t, "mkdir", k.Do(unix.SYS_MKDIR, k.Str("/new"), 0o755), 0)
		wantErr(t, "open", k.Do(unix.SYS_OPEN, k.Str("/proc/self/maps"), 0, 0), unix.ENOENT)
		k.FD(k.Do(unix.SYS_OPEN, k.Str("/new"), unix.O_DIRECTORY, 0))
		k.FD(k.Do(unix.SYS_OPEN, k.Str("/new/../../../new"), unix.O_DIRECTORY, 0))
	}()
	<-done
	if _, err := os.Stat(dir + "/new"); err != nil {
		t.Error(err)
	}
}
