package sys

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// spaces are the namespaces a thread may have for itself, by their name in
// /proc. The mount namespace comes last: it changes what paths mean.
var spaces = [...]struct {
	name string
	flag int
}{
	{"cgroup", unix.CLONE_NEWCGROUP}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS},
	{"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS},
}

// adoptSpaces takes the calling thread where thread tid is: its namespaces,
// root, working directory and umask. On Linux two threads share
// directory and umask from then on; these two don't.
func adoptSpaces(tid int) error {
	if proc.fd < 0 {
		return unix.ENOENT
	}
	of := "self/task/" + strconv.Itoa(tid) + "/"
	var dirs [2]int
	for i, name := range [...]string{"root", "cwd"} {
		fd, err := unix.Openat(proc.fd, of+name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer closeFD(fd)
		dirs[i] = fd
	}
	mask, err := umaskOf(of)
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for _, s := range spaces {
		if err := joinSpace(of+"ns/"+s.name, "thread-self/ns/"+s.name, s.flag); err != nil {
			return err
		}
	}
	raw(unix.SYS_UMASK, mask, 0, 0, 0, 0, 0)
	if err := unix.Fchdir(dirs[0]); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Fchdir(dirs[1])
}

// joinSpace enters a namespace, if it is not the calling thread's already.
func joinSpace(theirs, own string, flag int) error {
	there, err := readlinkat(proc.fd, theirs)
	if err != nil {
		if err == unix.ENOENT {
			return nil // a kernel without
		}
		return err
	}
	if here, err := readlinkat(proc.fd, own); err != nil || here == there {
		return err
	}
	fd, err := unix.Openat(proc.fd, theirs, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return unix.Setns(fd, flag)
}

// umaskOf reads a thread's umask, which is not the process's any more.
func umaskOf(of string) (uintptr, error) {
	text, err := readFile(proc.fd, of+"status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if mask, ok := strings.CutPrefix(line, "Umask:\t"); ok {
			v, err := strconv.ParseUint(strings.TrimSpace(mask), 8, 16)
			return uintptr(v), err
		}
	}
	return 0, unix.ENOENT
}
