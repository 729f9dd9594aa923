package sys

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

func TestOpen(t *testing.T) {
	k := newTask(t)
	dir := t.TempDir()
	path := func(name string) gva { return k.Str(filepath.Join(dir, name)) }
	old := unix.Umask(0o022)
	defer unix.Umask(old)

	fd := k.FD(k.Do(unix.SYS_OPEN, path("new"), unix.O_CREAT|unix.O_RDWR|unix.O_APPEND, 0o6777|0o100000))
	wantMode(t, filepath.Join(dir, "new"), 0o755)
	native, err := unix.Open(filepath.Join(dir, "new"), unix.O_RDWR|unix.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(native)
	got, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if have, _ := unix.FcntlInt(uintptr(native), unix.F_GETFL, 0); got != have {
		t.Errorf("F_GETFL %#o, natively %#o", got, have)
	}
	k.FD(k.Do(unix.SYS_CREAT, path("created"), 0o600))
	wantMode(t, filepath.Join(dir, "created"), 0o600)
	k.FD(k.Do(unix.SYS_OPEN, path("new"), 0x8000_0000_0000|1<<30, 0)) // unknown flags are ignored
	k.FD(k.Do(unix.SYS_OPEN, path("new"), unix.O_RDONLY, ^uint64(0))) // and a mode without O_CREAT
	k.FD(k.Do(unix.SYS_OPEN, path(""), unix.O_PATH|unix.O_CREAT|unix.O_RDWR, 0o777))
	at := k.FD(k.Do(unix.SYS_OPENAT, unix.AT_FDCWD, path(""), unix.O_DIRECTORY, 0))
	k.FD(k.Do(unix.SYS_OPENAT, at, k.Str("new"), 0, 0))
	k.FD(k.Do(unix.SYS_OPENAT, -1, path("new"), 0, 0))
	k.FD(k.Do(unix.SYS_OPEN, path(""), unix.O_TMPFILE|unix.O_RDWR, 0o600))

	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	hole := k.Map(1) + page
	for _, c := range [][]any{
		{unix.AT_FDCWD, path("missing"), 0, 0}, {unix.AT_FDCWD, path("new/x"), 0, 0}, {unix.AT_FDCWD, path("loop"), 0, 0},
		{unix.AT_FDCWD, path("new"), unix.O_CREAT | unix.O_EXCL, 0}, {unix.AT_FDCWD, path("new"), unix.O_DIRECTORY, 0},
		{unix.AT_FDCWD, hole, 0, 0}, {unix.AT_FDCWD, gva(0), 0, 0}, {unix.AT_FDCWD, hole - 1, 0, 0}, {-1, k.Str("x"), 0, 0},
		{12345, k.Str("x"), 0, 0}, {fd, k.Str("x"), 0, 0}, {unix.AT_FDCWD, k.Str(""), 0, 0},
		{unix.AT_FDCWD, k.Put(make5000('a')), 0, 0}, {unix.AT_FDCWD, path(""), unix.O_RDWR, 0},
		{unix.AT_FDCWD, path(""), unix.O_TMPFILE, 0}, {unix.AT_FDCWD, path("loop"), unix.O_NOFOLLOW, 0},
	} {
		same(t, k, unix.SYS_OPENAT, c...)
	}
	wantErr(t, "openat of a monitor's directory", k.Do(unix.SYS_OPENAT, k.OwnedFD(mustOpen(t, dir)), k.Str("new"), 0, 0), unix.EBADF)
	for _, c := range [][]any{
		{unix.AT_FDCWD, path("new"), k.Put(make([]byte, 24)), 23}, {unix.AT_FDCWD, path("new"), k.Put(make([]byte, 24)), 5000},
		{unix.AT_FDCWD, path("new"), k.Put(append(make([]byte, 24), 1)), 32}, {unix.AT_FDCWD, path("new"), hole, 24},
		{unix.AT_FDCWD, path("new"), k.Put(append(make([]byte, 16), 0xff, 0xff)), 24},
	} {
		same(t, k, unix.SYS_OPENAT2, c...)
	}
	k.FD(k.Do(unix.SYS_OPENAT2, unix.AT_FDCWD, path("new"), k.Put(make([]byte, 64)), 64))
}

func make5000(c byte) []byte {
	b := make([]byte, 5000)
	for i := range b {
		b[i] = c
	}
	return b
}

func mustOpen(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestPaths(t *testing.T) {
	k := newTask(t)
	name := tempFile(t, "0123456789")
	p, buf := k.Str(name), k.Map(2)
	missing := k.Str(name + "x")
	hole := buf + 2*page
	same(t, k, unix.SYS_STAT, p, buf)
	for _, nr := range []int{unix.SYS_STAT, unix.SYS_STATFS} {
		same(t, k, nr, missing, buf)
		same(t, k, nr, hole, buf)
		same(t, k, nr, p, hole)
		same(t, k, nr, gva(0), buf)
	}
	at := unix.AT_FDCWD
	same(t, k, unix.SYS_NEWFSTATAT, at, p, buf, 0)
	same(t, k, unix.SYS_NEWFSTATAT, at, p, buf, 0x7777)
	same(t, k, unix.SYS_STATX, at, p, 0, unix.STATX_ALL, buf)
	same(t, k, unix.SYS_STATX, -1, k.Str(""), unix.AT_EMPTY_PATH, unix.STATX_ALL, buf)
	same(t, k, unix.SYS_ACCESS, p, unix.R_OK)
	same(t, k, unix.SYS_ACCESS, missing, unix.R_OK)
	same(t, k, unix.SYS_FACCESSAT2, at, p, unix.X_OK, unix.AT_EACCESS)
	same(t, k, unix.SYS_TRUNCATE, p, 5)
	if b, _ := os.ReadFile(name); string(b) != "01234" {
		t.Errorf("truncate left %q", b)
	}
	for _, c := range [][]any{{missing, 1}, {k.Str("/"), 1}, {k.Str("/dev/null"), 1}, {p, -1}, {hole, 1}, {missing, -1}} {
		same(t, k, unix.SYS_TRUNCATE, c...)
	}
	same(t, k, unix.SYS_CHMOD, p, 0o600)
	same(t, k, unix.SYS_CHMOD, missing, 0o600)
	same(t, k, unix.SYS_CHMOD, hole, 0o600)
	same(t, k, unix.SYS_FCHMODAT2, at, p, 0o644, 0)
	same(t, k, unix.SYS_UTIMENSAT, at, p, gva(0), 0)
	same(t, k, unix.SYS_UTIMENSAT, k.FD(k.Do(unix.SYS_OPEN, p, 0, 0)), gva(0), gva(0), 0)
	same(t, k, unix.SYS_UTIMES, missing, gva(0))
	same(t, k, unix.SYS_LINKAT, at, p, at, p, 0)
	same(t, k, unix.SYS_READLINK, p, buf, 100)
	same(t, k, unix.SYS_READLINK, k.Str("/proc/self/fd"), buf, 100)
	same(t, k, unix.SYS_READLINK, k.Str("/proc/self"), buf, 100)
	same(t, k, unix.SYS_READLINK, k.Str("/proc/mounts"), buf, 100)
	same(t, k, unix.SYS_READLINK, k.Str("/proc/self/cwd"), buf, 100)
	same(t, k, unix.SYS_READLINKAT, at, missing, buf, 100)
	same(t, k, unix.SYS_STAT, k.Str("/proc/self/cwd"), buf)
	same(t, k, unix.SYS_STAT, k.Str("/proc/self/nothing"), buf)
	same(t, k, unix.SYS_STAT, k.Str("/proc/self/fd/"), buf)
	same(t, k, unix.SYS_STAT, k.Str("/proc/self/exe/"), buf)
	same(t, k, unix.SYS_STAT, k.Str("/proc/self/exe/x"), buf)
	same(t, k, unix.SYS_STAT, k.Str("/proc/meminfo"), buf)
	same(t, k, unix.SYS_OPEN, k.Str("/proc/self/ns/none"), 0, 0)
	ns := k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/ns/net"), 0, 0))
	same(t, k, unix.SYS_FSTAT, ns, buf)
}

func TestExtendedAttributes(t *testing.T) {
	k := newTask(t)
	name := tempFile(t, "")
	p, key, value, buf := k.Str(name), k.Str("user.colour"), k.Put([]byte("blue")), k.Map(1)
	if r := k.Do(unix.SYS_SETXATTR, p, key, value, 4, 0); hypercall.Errno(r) == unix.EOPNOTSUPP {
		t.Skip("no user attributes here")
	} else {
		want(t, "setxattr", r, 0)
	}
	want(t, "getxattr", k.Do(unix.SYS_GETXATTR, p, key, buf, 100), 4)
	if got := string(k.Read(buf, 4)); got != "blue" {
		t.Errorf("getxattr read %q", got)
	}
	want(t, "getxattr of the size", k.Do(unix.SYS_GETXATTR, p, key, 0, 0), 4)
	wantErr(t, "getxattr into 2 bytes", k.Do(unix.SYS_GETXATTR, p, key, buf, 2), unix.ERANGE)
	same(t, k, unix.SYS_LISTXATTR, p, buf, 4096)
	arg := make([]byte, 16)
	put64(arg, uint64(k.Put([]byte("green"))))
	put32(arg[8:], 5)
	r := k.Do(unix.SYS_SETXATTRAT, unix.AT_FDCWD, p, 0, key, k.Put(arg), 16)
	if hypercall.Errno(r) != unix.ENOSYS {
		want(t, "setxattrat", r, 0)
		put64(arg, uint64(buf))
		want(t, "getxattrat", k.Do(unix.SYS_GETXATTRAT, unix.AT_FDCWD, p, 0, key, k.Put(arg), 16), 5)
		if got := string(k.Read(buf, 5)); got != "green" {
			t.Errorf("getxattrat read %q", got)
		}
		put64(arg, uint64(usermem.Window)+uint64(buf))
		wantErr(t, "getxattrat to a host address", k.Do(unix.SYS_GETXATTRAT, unix.AT_FDCWD, p, 0, key, k.Put(arg), 16), unix.EFAULT)
		want(t, "removexattrat", k.Do(unix.SYS_REMOVEXATTRAT, unix.AT_FDCWD, p, 0, key), 0)
		return
	}
	want(t, "removexattr", k.Do(unix.SYS_REMOVEXATTR, p, key), 0)
}

func TestHandles(t *testing.T) {
	k := newTask(t)
	fd, err := unix.MemfdCreate("mine", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	h := k.Map(1)
	k.Write(h, []byte{128, 0, 0, 0})
	if r := k.Do(unix.SYS_NAME_TO_HANDLE_AT, fd, k.Str(""), h, h+512, unix.AT_EMPTY_PATH); hypercall.Errno(r) != 0 {
		t.Skip("no handles of memfds:", hypercall.Errno(r))
	}
	own := secret(t, k)
	k.Write(h, []byte{128, 0, 0, 0})
	path := k.Str(fmt.Sprintf("/proc/self/fd/%d", own))
	wantErr(t, "handle of the monitor's file", k.Do(unix.SYS_NAME_TO_HANDLE_AT, unix.AT_FDCWD, path, h, h+512, unix.AT_SYMLINK_FOLLOW), unix.ENOENT)
	wantErr(t, "handle of the monitor's descriptor", k.Do(unix.SYS_NAME_TO_HANDLE_AT, own, k.Str(""), h, h+512, unix.AT_EMPTY_PATH), unix.EBADF)
}

func TestDescriptors(t *testing.T) {
	k := newTask(t)
	own := secret(t, k)
	fd := k.FD(k.Do(unix.SYS_OPEN, k.Str(tempFile(t, "text")), unix.O_RDWR, 0))
	want(t, "dup2", k.Do(unix.SYS_DUP2, fd, 600), 600)
	want(t, "dup3", k.Do(unix.SYS_DUP3, fd, 601, unix.O_CLOEXEC), 601)
	for _, c := range []struct {
		what string
		got  uint64
		e    unix.Errno
	}{
		{"dup2 onto the monitor's", k.Do(unix.SYS_DUP2, fd, own), unix.EBADF},
		{"dup2 beyond", k.Do(unix.SYS_DUP2, fd, k.FDLimit()), unix.EBADF},
		{"dup2 of the monitor's", k.Do(unix.SYS_DUP2, own, 602), unix.EBADF},
		{"dup3 onto the monitor's", k.Do(unix.SYS_DUP3, fd, own, 0), unix.EBADF},
		{"dup3 with bad flags", k.Do(unix.SYS_DUP3, fd, own, 1), unix.EINVAL},
		{"dup3 onto itself", k.Do(unix.SYS_DUP3, fd, fd, 0), unix.EINVAL},
		{"F_DUPFD beyond", k.Do(unix.SYS_FCNTL, fd, unix.F_DUPFD, k.FDLimit()), unix.EINVAL},
		{"F_DUPFD of the monitor's", k.Do(unix.SYS_FCNTL, own, unix.F_DUPFD, 0), unix.EBADF},
		{"F_SETFD of the monitor's", k.Do(unix.SYS_FCNTL, own, unix.F_SETFD, 0), unix.EBADF},
		{"unknown fcntl", k.Do(unix.SYS_FCNTL, fd, 777, k.Map(1)), unix.EINVAL},
		{"F_GETLK with a host address", k.Do(unix.SYS_FCNTL, fd, unix.F_GETLK, uint64(k.Map(1))+usermem.Window), unix.EFAULT},
		{"pipe into a hole", k.Do(unix.SYS_PIPE2, k.Map(1)+page, 0), unix.EFAULT},
		{"pipe2 with bad flags", k.Do(unix.SYS_PIPE2, k.Map(1), 1), unix.EINVAL},
		{"socketpair into a hole", k.Do(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, k.Map(1)+page), unix.EFAULT},
		{"close_range upside down", k.Do(unix.SYS_CLOSE_RANGE, 10, 9, 0), unix.EINVAL},
		{"close_range with bad flags", k.Do(unix.SYS_CLOSE_RANGE, 10, 19, 1), unix.EINVAL},
	} {
		wantErr(t, c.what, c.got, c.e)
	}
	want(t, "F_DUPFD", k.Do(unix.SYS_FCNTL, fd, unix.F_DUPFD_CLOEXEC, 650), 650)
	want(t, "F_GETFD", k.Do(unix.SYS_FCNTL, 650, unix.F_GETFD, 0), unix.FD_CLOEXEC)
	lock := make([]byte, 32)
	lock[0] = unix.F_WRLCK
	want(t, "F_SETLK", k.Do(unix.SYS_FCNTL, fd, unix.F_SETLK, k.Put(lock)), 0)
	want(t, "close_range", k.Do(unix.SYS_CLOSE_RANGE, 600, ^uint32(0), 0), 0)
	want(t, "close_range of the monitor's", k.Do(unix.SYS_CLOSE_RANGE, own, own, 0), 0)
	wantErr(t, "a closed one", k.Do(unix.SYS_FCNTL, 601, unix.F_GETFD, 0), unix.EBADF)
	if text := readFD2(t, own); text != "secret" {
		t.Errorf("the monitor's file is now %q", text)
	}
	p := k.Map(1)
	want(t, "pipe", k.Do(unix.SYS_PIPE, p), 0)
	r, w := k.FD(uint64(le32(k.Read(p, 4)))), k.FD(uint64(le32(k.Read(p+4, 4))))
	unix.Write(w, []byte("through"))
	want(t, "read", k.Do(unix.SYS_READ, r, p, 100), 7)
	want(t, "FIONREAD", k.Do(unix.SYS_IOCTL, r, unix.TIOCINQ, p), 0)
}

func TestIoctl(t *testing.T) {
	k := newTask(t)
	ptmx, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(ptmx)
	buf := k.Map(1)
	for _, c := range [][]any{
		{ptmx, unix.TCGETS, buf}, {ptmx, unix.TIOCGWINSZ, buf}, {ptmx, unix.TIOCGPTN, buf}, {ptmx, unix.TCFLSH, 0},
		{ptmx, unix.TCFLSH, 77}, {ptmx, unix.TCGETS, buf + page}, {ptmx, unix.TIOCGWINSZ, gva(0)}, {1234, unix.TCGETS, buf},
		{ptmx, unix.TIOCINQ, buf}, {ptmx, unix.TIOCSCTTY, 0}, {ptmx, unix.TIOCGPGRP, buf},
	} {
		same(t, k, unix.SYS_IOCTL, c...)
	}
	k.Write(buf, make([]byte, 4))
	want(t, "TIOCSPTLCK", k.Do(unix.SYS_IOCTL, ptmx, unix.TIOCSPTLCK, buf), 0)
	k.FD(k.Do(unix.SYS_IOCTL, ptmx, 0x5441, unix.O_RDWR|unix.O_NOCTTY))
	wantErr(t, "TCGETS to a host address", k.Do(unix.SYS_IOCTL, ptmx, unix.TCGETS, uint64(buf)+usermem.Window), unix.EFAULT)
	wantErr(t, "an unknown request", k.Do(unix.SYS_IOCTL, ptmx, 0xc0109999, buf), unix.ENOTTY)
	wantErr(t, "an unknown request of nothing", k.Do(unix.SYS_IOCTL, 1234, 0xc0109999, buf), unix.EBADF)
	wantErr(t, "a request to the monitor", k.Do(unix.SYS_IOCTL, secret(t, k), unix.TIOCINQ, buf), unix.EBADF)

	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sock)
	ifconf := make([]byte, 16)
	put32(ifconf, 4096)
	put64(ifconf[8:], uint64(buf))
	p := k.Put(ifconf)
	want(t, "SIOCGIFCONF", k.Do(unix.SYS_IOCTL, sock, siocGIFCONF, p), 0)
	n := le32(k.Read(p, 4))
	if n == 0 || n%40 != 0 || le64(k.Read(p+8, 8)) != uint64(buf) {
		t.Errorf("SIOCGIFCONF: %d bytes at %#x", n, le64(k.Read(p+8, 8)))
	}
	if name := unix.ByteSliceToString(k.Read(buf, 16)); name != "lo" {
		t.Errorf("first interface %q", name)
	}
	same(t, k, unix.SYS_IOCTL, sock, unix.SIOCGIFFLAGS, buf)
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	put64(ifreq[16:], uint64(buf))
	k.Write(buf, []byte{0x0a, 0, 0, 0}) // ETHTOOL_GLINK
	want(t, "SIOCETHTOOL", k.Do(unix.SYS_IOCTL, sock, siocETHTOOL, k.Put(ifreq)), 0)
	if le32(k.Read(buf+4, 4)) != 1 {
		t.Error("lo has no link")
	}
	put64(ifreq[16:], uint64(buf)+usermem.Window)
	wantErr(t, "SIOCETHTOOL to a host address", k.Do(unix.SYS_IOCTL, sock, siocETHTOOL, k.Put(ifreq)), unix.EFAULT)
	wantErr(t, "FICLONE of the monitor's", k.Do(unix.SYS_IOCTL, k.FD(k.Do(unix.SYS_OPEN, k.Str(tempFile(t, "")), unix.O_RDWR, 0)), 0x40049409, secret(t, k)), unix.EBADF)
}
