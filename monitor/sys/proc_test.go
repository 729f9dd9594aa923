package sys

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/usermem"
)

// ways are the spellings of a file below /proc/self that a payload may try.
func ways(t *testing.T, k *faketask.Task, file string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	link := func(name, target string) string {
		p := filepath.Join(dir, name)
		if err := os.Symlink(target, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	return map[string]string{
		"self":              "/proc/self/" + file,
		"pid":               fmt.Sprintf("/proc/%d/%s", os.Getpid(), file),
		"thread-self":       "/proc/thread-self/" + file,
		"thread":            fmt.Sprintf("/proc/%d/%s", k.Tid(), file),
		"task":              fmt.Sprintf("/proc/self/task/%d/%s", k.Tid(), file),
		"slashes":           "//proc///self//./" + file,
		"dots":              "/proc/self/../self/" + file,
		"symbolic link":     link("link", "/proc/self/"+file),
		"link to directory": link("dir", "/proc/self") + "/" + file,
		"link to link":      link("again", filepath.Join(dir, "link")),
		"relative link":     link("rel", strings.Repeat("../", 20)+"proc/self/"+file),
		"root":              "/proc/self/root/proc/self/" + file,
		"cwd":               "/proc/self/cwd/" + strings.Repeat("../", 20) + "proc/self/" + file,
	}
}

func TestExe(t *testing.T) {
	k := newTask(t)
	exe := k.Proc.ExePath
	var st unix.Stat_t
	if err := unix.Stat(exe, &st); err != nil {
		t.Fatal(err)
	}
	buf := k.Map(1)
	for name, path := range ways(t, k, "exe") {
		p := k.Str(path)
		fd := k.FD(k.Do(unix.SYS_OPENAT, unix.AT_FDCWD, p, unix.O_RDONLY, 0))
		if text := readFD(t, fd); !strings.HasPrefix(text, "\x7fELF, more") {
			t.Errorf("%s: opened a file with %.20q", name, text)
		}
		want(t, name+": stat", k.Do(unix.SYS_STAT, p, buf), 0)
		if ino := le64(k.Read(buf+8, 8)); ino != st.Ino {
			t.Errorf("%s: stat gives inode %d, want %d", name, ino, st.Ino)
		}
		want(t, name+": statx", k.Do(unix.SYS_STATX, unix.AT_FDCWD, p, 0, unix.STATX_INO, buf), 0)
		if ino := le64(k.Read(buf+32, 8)); ino != st.Ino {
			t.Errorf("%s: statx gives inode %d, want %d", name, ino, st.Ino)
		}
		want(t, name+": chmod", k.Do(unix.SYS_CHMOD, p, 0o711), 0)
		wantMode(t, exe, 0o711)
		want(t, name+": fchmodat", k.Do(unix.SYS_FCHMODAT, unix.AT_FDCWD, p, 0o755), 0)
		wantMode(t, exe, 0o755)
		if strings.Contains(name, "link") && name != "link to directory" {
			continue // readlink reads the first link
		}
		want(t, name+": readlink", k.Do(unix.SYS_READLINK, p, buf, 4096), uint64(len(exe)))
		if got := string(k.Read(buf, len(exe))); got != exe {
			t.Errorf("%s: readlink says %q, want %q", name, got, exe)
		}
	}
	link := k.Str("/proc/self/exe")
	want(t, "readlink into 5 bytes", k.Do(unix.SYS_READLINK, link, buf, 5), 5)
	wantErr(t, "readlink into 0 bytes", k.Do(unix.SYS_READLINK, link, buf, 0), unix.EINVAL)
	wantErr(t, "readlink into a hole", k.Do(unix.SYS_READLINK, link, buf+page, 5), unix.EFAULT)
	wantErr(t, "O_NOFOLLOW", k.Do(unix.SYS_OPEN, link, unix.O_NOFOLLOW, 0), unix.ELOOP)
	wantErr(t, "openat2 without magic links", k.Do(unix.SYS_OPENAT2, unix.AT_FDCWD, link, how2(k, unix.RESOLVE_NO_MAGICLINKS), 24), unix.ELOOP)
	want(t, "truncate", k.Do(unix.SYS_TRUNCATE, link, 4), 0)
	if b, _ := os.ReadFile(exe); string(b) != "\x7fELF" {
		t.Errorf("truncate left %q", b)
	}
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	gone := exe + " (deleted)"
	want(t, "readlink of a removed program", k.Do(unix.SYS_READLINK, link, buf, 4096), uint64(len(gone)))
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, link, 0, 0))); text != "\x7fELF" {
		t.Errorf("a removed program reads %q", text)
	}
}

func how2(k *faketask.Task, resolve uint64) gva {
	b := make([]byte, sizeHow)
	put64(b[16:], resolve)
	return k.Put(b)
}

func wantMode(t *testing.T, name string, mode uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil || st.Mode&0o777 != mode {
		t.Errorf("mode %#o (%v), want %#o", st.Mode&0o777, err, mode)
	}
}

// TestMonitorFiles tries to get at the monitor's memory and descriptors through
// every way that leads to them.
func TestMonitorFiles(t *testing.T) {
	k := newTask(t)
	own := secret(t, k)
	for file, e := range map[string]unix.Errno{
		"stack": unix.EACCES, "map_files": unix.EACCES,
		fmt.Sprintf("fd/%d", own): unix.ENOENT, fmt.Sprintf("fdinfo/%d", own): unix.ENOENT,
	} {
		for name, path := range ways(t, k, file) {
			p := k.Str(path)
			if file == "map_files" && strings.Contains(path, "thread") || strings.Contains(path, "/task/") && file == "map_files" {
				continue // threads have none
			}
			flags := unix.O_RDONLY
			if strings.HasPrefix(file, "fd/") {
				flags = unix.O_RDWR
			}
			wantErr(t, name+": open "+file, k.Do(unix.SYS_OPEN, p, flags, 0), e)
			wantErr(t, name+": openat2 "+file, k.Do(unix.SYS_OPENAT2, unix.AT_FDCWD, p, k.Put(append([]byte{byte(flags)}, make([]byte, 23)...)), 24), e)
		}
	}
	for name, path := range ways(t, k, fmt.Sprintf("fd/%d", own)) {
		p := k.Str(path)
		wantErr(t, name+": truncate", k.Do(unix.SYS_TRUNCATE, p, 0), unix.ENOENT)
		wantErr(t, name+": chmod", k.Do(unix.SYS_CHMOD, p, 0), unix.ENOENT)
		wantErr(t, name+": chown", k.Do(unix.SYS_CHOWN, p, 1, 1), unix.ENOENT)
		wantErr(t, name+": utimensat", k.Do(unix.SYS_UTIMENSAT, unix.AT_FDCWD, p, 0, 0), unix.ENOENT)
		wantErr(t, name+": setxattr", k.Do(unix.SYS_SETXATTR, p, p, p, 1, 0), unix.ENOENT)
		wantErr(t, name+": linkat", k.Do(unix.SYS_LINKAT, unix.AT_FDCWD, p, unix.AT_FDCWD, p, unix.AT_SYMLINK_FOLLOW), unix.ENOENT)
		wantErr(t, name+": open_tree", k.Do(unix.SYS_OPEN_TREE, unix.AT_FDCWD, p, 0), unix.ENOENT)
		wantErr(t, name+": O_PATH", k.Do(unix.SYS_OPEN, p, unix.O_PATH, 0), unix.ENOENT)
		if !strings.Contains(name, "link") || name == "link to directory" {
			wantErr(t, name+": readlink", k.Do(unix.SYS_READLINK, p, k.Map(1), 100), unix.ENOENT)
		}
		if strings.HasPrefix(path, "/proc/") {
			wantErr(t, name+": stat", k.Do(unix.SYS_STAT, p, k.Map(1)), unix.ENOENT)
			wantErr(t, name+": lstat", k.Do(unix.SYS_NEWFSTATAT, unix.AT_FDCWD, p, k.Map(1), unix.AT_SYMLINK_NOFOLLOW), unix.ENOENT)
			wantErr(t, name+": access", k.Do(unix.SYS_ACCESS, p, 0), unix.ENOENT)
		}
	}
	if text := readFD2(t, own); text != "secret" {
		t.Errorf("the monitor's file is now %q", text)
	}
}

func readFD2(t *testing.T, fd int) string {
	t.Helper()
	b := make([]byte, 100)
	n, err := unix.Pread(fd, b, 0)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestMonitorFilesByDirectory goes through descriptors of directories.
func TestMonitorFilesByDirectory(t *testing.T) {
	k := newTask(t)
	own := secret(t, k)
	self := k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self"), unix.O_DIRECTORY, 0))
	fds := k.FD(k.Do(unix.SYS_OPENAT, self, k.Str("fd"), unix.O_PATH, 0))
	wantErr(t, "openat stack", k.Do(unix.SYS_OPENAT, self, k.Str("stack"), unix.O_RDONLY, 0), unix.EACCES)
	n := k.Str(fmt.Sprint(own))
	wantErr(t, "openat fd", k.Do(unix.SYS_OPENAT, fds, n, unix.O_RDWR, 0), unix.ENOENT)
	wantErr(t, "readlinkat fd", k.Do(unix.SYS_READLINKAT, fds, n, k.Map(1), 100), unix.ENOENT)
	// An O_PATH descriptor of the file itself can be had; opening it can't.
	pm := k.FD(k.Do(unix.SYS_OPENAT, self, k.Str("stack"), unix.O_PATH, 0))
	wantErr(t, "open an O_PATH of stack", k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/self/fd/%d", pm)), unix.O_RDONLY, 0), unix.EACCES)
	// One of the link, too.
	link := k.FD(k.Do(unix.SYS_OPENAT, fds, n, unix.O_PATH|unix.O_NOFOLLOW, 0))
	wantErr(t, "readlinkat of an O_PATH of the link", k.Do(unix.SYS_READLINKAT, link, k.Str(""), k.Map(1), 100), unix.ENOENT)
	r := k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/self/fd/%d", link)), unix.O_RDWR, 0)
	if hypercall.Errno(r) == 0 {
		t.Errorf("opened %q through a link's descriptor", readFD2(t, int(r)))
	}
	if r := k.Do(unix.SYS_OPENAT2, self, k.Str("fd/"+fmt.Sprint(own)), how2(k, unix.RESOLVE_BENEATH), 24); hypercall.Errno(r) != unix.EXDEV && hypercall.Errno(r) != unix.ELOOP {
		t.Errorf("openat2(RESOLVE_BENEATH) = %d", int64(r))
	}
	if r := k.Do(unix.SYS_OPENAT2, self, k.Str("fd/"+fmt.Sprint(own)), how2(k, unix.RESOLVE_IN_ROOT), 24); hypercall.Errno(r) == 0 {
		t.Error("openat2(RESOLVE_IN_ROOT) opened the monitor's file")
	}
}

// TestMonitorFilesByMount hides a file's name behind a bind mount.
func TestMonitorFilesByMount(t *testing.T) {
	k := newTask(t)
	own := secret(t, k)
	runtime.LockOSThread() // the thread has the namespace for the rest of its life
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skip("needs CAP_SYS_ADMIN:", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mount := func(source, name string) string {
		target := filepath.Join(dir, name)
		var st unix.Stat_t
		if err := unix.Stat(source, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			os.Mkdir(target, 0o755)
		} else {
			os.WriteFile(target, nil, 0o644)
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
		return target
	}
	pid := fmt.Sprintf("/proc/%d", os.Getpid())
	wantErr(t, "bound stack", k.Do(unix.SYS_OPEN, k.Str(mount(pid+"/stack", "innocent name")), unix.O_RDONLY, 0), unix.EACCES)
	checkMemory(t, k, "bound mem", mount(pid+"/mem", "another name"))
	fds := mount(pid+"/fd", "numbers")
	wantErr(t, "bound fd", k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("%s/%d", fds, own)), unix.O_RDWR, 0), unix.ENOENT)
	whole := mount("/proc", "proc")
	checkMemory(t, k, "bound /proc", whole+"/self/mem")
	k.FD(k.Do(unix.SYS_OPEN, k.Str(whole+"/meminfo"), 0, 0))

	fresh := filepath.Join(dir, "fresh")
	os.Mkdir(fresh, 0o755)
	if err := unix.Mount("proc", fresh, "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(fresh, unix.MNT_DETACH) })
	checkMemory(t, k, "another procfs", fresh+"/self/mem")
	wantErr(t, "fd of another procfs", k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("%s/self/fd/%d", fresh, own)), unix.O_RDWR, 0), unix.ENOENT)
	k.FD(k.Do(unix.SYS_OPEN, k.Str(fresh+"/meminfo"), 0, 0))
	if text := readFD2(t, own); text != "secret" {
		t.Errorf("the monitor's file is now %q", text)
	}
}

func TestMem(t *testing.T) {
	k := newTask(t)
	for name, path := range ways(t, k, "mem") {
		checkMemory(t, k, name, path)
	}
	p := k.Put([]byte("text"))
	path := k.Str("/proc/self/mem")
	ro := k.FD(k.Do(unix.SYS_OPEN, path, unix.O_RDONLY, 0))
	wantErr(t, "write to a read-only one", k.Do(unix.SYS_PWRITE64, ro, p, 4, uint64(p)), unix.EBADF)
	wo := k.FD(k.Do(unix.SYS_OPEN, path, unix.O_WRONLY|unix.O_CLOEXEC, 0))
	wantErr(t, "read of a write-only one", k.Do(unix.SYS_PREAD64, wo, p, 4, uint64(p)), unix.EBADF)
	if flags, _ := unix.FcntlInt(uintptr(wo), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC {
		t.Errorf("O_CLOEXEC became %#x", flags)
	}
	// Private pages can be written whatever their protection, as by a debugger.
	code := k.MapAt(uint64(p)+64*page, 1, unix.PROT_READ)
	want(t, "write to read-only memory", k.Do(unix.SYS_PWRITE64, wo, p, 4, uint64(code)), 4)
	if got := string(k.Read(code, 4)); got != "text" {
		t.Errorf("memory is now %q", got)
	}
	other := k.FD(k.Do(unix.SYS_OPEN, k.Str(tempFile(t, "other")), 0, 0))
	want(t, "read of another file", k.Do(unix.SYS_READ, other, p, 100), 5)
}

// checkMemory reads and writes the payload's memory, and tries the monitor's,
// through a file.
func checkMemory(t *testing.T, k *faketask.Task, name, path string) {
	t.Helper()
	fd := k.FD(k.Do(unix.SYS_OPEN, k.Str(path), unix.O_RDWR, 0))
	src, dst := k.Put([]byte("payload's text")), k.Map(1)
	want(t, name+": pread64", k.Do(unix.SYS_PREAD64, fd, dst, 14, uint64(src)), 14)
	if got := string(k.Read(dst, 14)); got != "payload's text" {
		t.Errorf("%s: read %q", name, got)
	}
	want(t, name+": lseek", k.Do(unix.SYS_LSEEK, fd, uint64(src)+2, unix.SEEK_SET), uint64(src)+2)
	want(t, name+": readv", k.Do(unix.SYS_READV, fd, iovec(k, uint64(dst), 2, 0, 0, uint64(dst)+100, 3), 3), 5)
	if got := string(k.Read(dst, 2)) + string(k.Read(dst+100, 3)); got != "yload" {
		t.Errorf("%s: read %q", name, got)
	}
	want(t, name+": write", k.Do(unix.SYS_WRITE, fd, dst, 2), 2)
	if got := string(k.Read(src, 14)); got != "payloadyl text" {
		t.Errorf("%s: memory is now %q", name, got)
	}
	victim := []byte("monitor's own!")
	for what, at := range map[string]uint64{
		"the monitor's memory": uint64(addressOf(victim)), "the window": usermem.Window + uint64(src), "a hole": uint64(dst) + page,
		"the window's end": usermem.Size, "before the window": uint64(addressOf(victim)) - usermem.Window, "minus one": ^uint64(0),
	} {
		wantErr(t, name+": read of "+what, k.Do(unix.SYS_PREAD64, fd, dst, 8, at), unix.EIO)
		wantErr(t, name+": write of "+what, k.Do(unix.SYS_PWRITE64, fd, dst, 8, at), unix.EIO)
	}
	want(t, name+": read across the end", k.Do(unix.SYS_PREAD64, fd, src, 100, uint64(dst)+page-10), 10)
	wantErr(t, name+": read into a hole", k.Do(unix.SYS_PREAD64, fd, dst+page, 8, uint64(src)), unix.EFAULT)
	if string(victim) != "monitor's own!" {
		t.Errorf("%s: the monitor's memory is now %q", name, victim)
	}
	// By another call, the file is empty and can't be written.
	if r := k.Do(unix.SYS_SENDFILE, fd, fd, 0, 100); hypercall.Errno(r) == 0 && r != 0 {
		t.Errorf("%s: sendfile moved %d bytes", name, r)
	}
	if r := k.Do(unix.SYS_FTRUNCATE, fd, 100); r == 0 {
		t.Errorf("%s: the file can be made longer", name)
	}
}

// TestPagemap compares with the real file, where the window is.
func TestPagemap(t *testing.T) {
	k := newTask(t)
	real, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	p := k.Put([]byte("present"))
	fd := k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/pagemap"), unix.O_RDONLY, 0))
	buf := k.Map(1)
	want(t, "pread64", k.Do(unix.SYS_PREAD64, fd, buf, 16, uint64(p)/page*8), 16)
	entries := make([]byte, 16)
	if _, err := real.ReadAt(entries, int64((usermem.Window+uint64(p))/page*8)); err != nil {
		t.Fatal(err)
	}
	if got := k.Read(buf, 16); string(got) != string(entries) || le64(got)>>63 != 1 {
		t.Errorf("entries are %#x, want %#x", got, entries)
	}
	want(t, "pread64 beyond the window", k.Do(unix.SYS_PREAD64, fd, buf, 8, usermem.Size/page*8), 0)
	wantErr(t, "write", k.Do(unix.SYS_PWRITE64, fd, buf, 8, 0), unix.EBADF)
}

// TestProcRows: whatever this host's kernel has in a process's directory has been judged.
func TestProcRows(t *testing.T) {
	for _, dir := range []string{"/proc/self", fmt.Sprintf("/proc/self/task/%d", unix.Gettid())} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.ContainsFunc(procRows, func(r procRow) bool { return r.name == e.Name() }) {
				t.Errorf("%s/%s has no row in procRows: judge it", dir, e.Name())
			}
		}
	}
	seen := map[string]bool{}
	for _, r := range procRows {
		if seen[r.name] || r.why == "" || (r.kind == procRefused) != (r.errno != 0) {
			t.Errorf("row %+v: twice, without a reason, or refused without an errno", r)
		}
		seen[r.name] = true
	}
}

// relative is a process of the tree for tests.
type relative struct{ exe, limit, tid int }

func (r relative) ExeFD() int             { return r.exe }
func (r relative) FDLimit() int           { return r.limit }
func (r relative) HasThread(tid int) bool { return tid == r.tid }
func (r relative) Rlimit(resource int) (unix.Rlimit, bool) {
	return unix.Rlimit{Cur: 77, Max: 78}, resource == unix.RLIMIT_NOFILE
}

// TestRelative looks at another process of the tree: one that sleeps, with a descriptor that its monitor has for itself.
func TestRelative(t *testing.T) {
	k := newTask(t)
	secret, err := os.Open(tempFile(t, "its program"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	c := exec.Command("sleep", "1000")
	c.ExtraFiles = []*os.File{nil, nil, nil, secret} // 6
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { c.Process.Kill(); c.Wait() }()
	pid := c.Process.Pid
	k.Proc.Relatives = map[int]hypercall.Relative{pid: relative{exe: 6, limit: 6, tid: pid}}
	k.Proc.Files = map[string]string{"maps": "its maps"}
	file := func(name string) gva { return k.Str(fmt.Sprintf("/proc/%d/%s", pid, name)) }

	buf := k.Map(1)
	n := k.Do(unix.SYS_READLINK, file("exe"), buf, 4096)
	if got := string(k.Read(buf, int(n))); got != secret.Name() {
		t.Errorf("exe is %q, want %q", got, secret.Name())
	}
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, file("exe"), 0, 0))); text != "its program" {
		t.Errorf("exe reads %q", text)
	}
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, file("maps"), 0, 0))); text != "its maps" {
		t.Errorf("maps reads %q", text)
	}
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, file(fmt.Sprintf("task/%d/maps", pid)), 0, 0))); text != "its maps" {
		t.Errorf("the thread's maps reads %q", text)
	}
	k.FD(k.Do(unix.SYS_OPEN, file("fd/1"), unix.O_PATH, 0))
	wantErr(t, "its monitor's descriptor", k.Do(unix.SYS_OPEN, file("fd/6"), 0, 0), unix.ENOENT)
	wantErr(t, "readlink of that", k.Do(unix.SYS_READLINK, file("fd/6"), buf, 100), unix.ENOENT)
	wantErr(t, "map_files", k.Do(unix.SYS_OPEN, file("map_files"), unix.O_DIRECTORY, 0), unix.EACCES)
	fds := k.FD(k.Do(unix.SYS_OPEN, file("fd"), unix.O_DIRECTORY, 0))
	if names := list(t, k, unix.SYS_GETDENTS64, 19, fds, 4096); slices.Contains(names, "6") || !slices.Contains(names, "1") {
		t.Errorf("its descriptors are %v", names)
	}
	if r := k.Do(unix.SYS_PIDFD_OPEN, pid, 0); hypercall.Errno(r) == 0 {
		k.FD(k.Do(unix.SYS_PIDFD_GETFD, k.FD(r), 1, 0))
	}
	want(t, "prlimit64", k.Do(unix.SYS_PRLIMIT64, pid, unix.RLIMIT_NOFILE, 0, buf), 0)
	if cur, max := le64(k.Read(buf, 8)), le64(k.Read(buf+8, 8)); cur != 77 || max != 78 {
		t.Errorf("its limit is %d, %d", cur, max)
	}
	wantErr(t, "prlimit64 of its monitor's", k.Do(unix.SYS_PRLIMIT64, pid, unix.RLIMIT_NOFILE, buf, 0), unix.EPERM)
	want(t, "prlimit64 of another limit", k.Do(unix.SYS_PRLIMIT64, pid, unix.RLIMIT_CORE, k.Put(make([]byte, 16)), 0), 0)
	// Of its memory, what is in the window can be seen.
	mem := k.FD(k.Do(unix.SYS_OPEN, file("mem"), unix.O_RDWR, 0))
	wantErr(t, "its own memory", k.Do(unix.SYS_PREAD64, mem, buf, 8, mapped(t, pid)), unix.EIO)
}

// mapped is an address that a process has mapped.
func mapped(t *testing.T, pid int) (at uint64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Sscanf(string(text), "%x-", &at)
	return at
}

func TestOwnDescriptorsStayOpenable(t *testing.T) {
	k := newTask(t)
	k.Proc.Files = map[string]string{"maps": "my maps"}
	name := tempFile(t, "text")
	fd := k.FD(k.Do(unix.SYS_OPEN, k.Str(name), unix.O_RDONLY, 0))
	for way, path := range ways(t, k, fmt.Sprintf("fd/%d", fd)) {
		again := k.FD(k.Do(unix.SYS_OPEN, k.Str(path), unix.O_RDWR, 0))
		if text := readFD(t, again); text != "text" {
			t.Errorf("%s reads %q", way, text)
		}
	}
	tmp := k.FD(k.Do(unix.SYS_OPEN, k.Str(filepath.Dir(name)), unix.O_TMPFILE|unix.O_RDWR, 0o600))
	linked := name + " linked"
	want(t, "linkat", k.Do(unix.SYS_LINKAT, unix.AT_FDCWD, k.Str(fmt.Sprintf("/proc/self/fd/%d", tmp)), unix.AT_FDCWD, k.Str(linked), unix.AT_SYMLINK_FOLLOW), 0)
	if _, err := os.Stat(linked); err != nil {
		t.Error(err)
	}
	k.FD(k.Do(unix.SYS_OPEN, k.Str("/dev/stdin"), unix.O_PATH, 0))

	// A new descriptor has the lowest free number, whatever the way to its file.
	lowest := lowestFree(t)
	for _, path := range []string{"/dev/null", fmt.Sprintf("/proc/self/fd/%d", fd), "/proc/self/exe", "/proc/self/root/dev/null", "/proc/self/maps", "/proc/self/mem"} {
		r := k.Do(unix.SYS_OPEN, k.Str(path), 0, 0)
		want(t, "open "+path, r, uint64(lowest))
		want(t, "close", k.Do(unix.SYS_CLOSE, r), 0)
	}
	r := k.Do(unix.SYS_OPEN_TREE, unix.AT_FDCWD, k.Str("/"), 0)
	want(t, "open_tree", r, uint64(lowest))
	want(t, "close", k.Do(unix.SYS_CLOSE, r), 0)
}

func lowestFree(t *testing.T) int {
	t.Helper()
	fd := mustOpen(t, "/")
	unix.Close(fd)
	return fd
}

func TestViews(t *testing.T) {
	k := newTask(t)
	k.Proc.Files = map[string]string{"maps": "my maps", "status": "", "auxv": "0123456789abcdef"}
	fd := k.FD(k.Do(unix.SYS_OPENAT, unix.AT_FDCWD, k.Str("/proc/self/maps"), unix.O_RDONLY|unix.O_CLOEXEC, 0))
	if text := readFD(t, fd); text != "my maps" {
		t.Errorf("maps reads %q", text)
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC {
		t.Errorf("O_CLOEXEC became %#x", flags)
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("a view can be written: %#x", flags)
	}
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/status"), 0, 0))); !strings.HasPrefix(text, "seen: Name:") {
		t.Errorf("status reads %.40q", text)
	}
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/limits"), 0, 0))); !strings.HasPrefix(text, "Limit") {
		t.Errorf("limits reads %.40q", text)
	}
	if text := readFD(t, k.FD(k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/%d/maps", os.Getppid())), 0, 0))); text == "my maps" {
		t.Error("another process's maps are ours")
	}
	buf := k.Map(1)
	want(t, "PR_GET_AUXV", k.Do(unix.SYS_PRCTL, unix.PR_GET_AUXV, buf, 4, 0, 0), 16)
	if got := string(k.Read(buf, 5)); got != "0123\x00" {
		t.Errorf("PR_GET_AUXV wrote %q", got)
	}
}

func TestListings(t *testing.T) {
	k := newTask(t)
	own := secret(t, k)
	fd := k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/fd"), unix.O_DIRECTORY, 0))
	for _, size := range []int{64, 256, 32768} {
		unix.Seek(fd, 0, 0)
		names := list(t, k, unix.SYS_GETDENTS64, 19, fd, size)
		if slices.Contains(names, fmt.Sprint(own)) || !slices.Contains(names, fmt.Sprint(fd)) || !slices.Contains(names, "..") {
			t.Errorf("with %d bytes: %v", size, names)
		}
	}
	unix.Seek(fd, 0, 0)
	if names := list(t, k, unix.SYS_GETDENTS, 18, fd, 1000); slices.Contains(names, fmt.Sprint(own)) || !slices.Contains(names, fmt.Sprint(fd)) {
		t.Errorf("getdents: %v", names)
	}
	tasks := k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/task"), unix.O_DIRECTORY, 0))
	if names := list(t, k, unix.SYS_GETDENTS64, 19, tasks, 32768); !slices.Equal(names, []string{".", "..", fmt.Sprint(os.Getpid()), fmt.Sprint(k.Tid())}) {
		t.Errorf("tasks: %v", names)
	}
	other := otherThread(t, k)
	wantErr(t, "task of the monitor", k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/self/task/%d/comm", other)), 0, 0), unix.ENOENT)
	wantErr(t, "tgkill of the monitor", k.Do(unix.SYS_TGKILL, os.Getpid(), other, 0), unix.ESRCH)
	wantErr(t, "tkill of the monitor", k.Do(unix.SYS_TKILL, other, 0), unix.ESRCH)
	want(t, "tgkill", k.Do(unix.SYS_TGKILL, os.Getpid(), k.Tid(), 0), 0)
	want(t, "tkill", k.Do(unix.SYS_TKILL, k.Tid(), 0), 0)
	want(t, "tkill of another process", k.Do(unix.SYS_TKILL, os.Getppid(), 0), 0)
	plain := k.FD(k.Do(unix.SYS_OPEN, k.Str("/usr"), unix.O_DIRECTORY, 0))
	if names := list(t, k, unix.SYS_GETDENTS64, 19, plain, 32768); !slices.Contains(names, "bin") {
		t.Errorf("/usr: %v", names)
	}
	wantErr(t, "getdents64 of no directory", k.Do(unix.SYS_GETDENTS64, k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/maps"), 0, 0)), k.Map(1), 100), unix.ENOTDIR)
}

// otherThread is a thread of the test's runtime.
func otherThread(t *testing.T, k *faketask.Task) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		var tid int
		if fmt.Sscan(n.Name(), &tid); tid != os.Getpid() && !k.Proc.HasThread(tid) {
			return tid
		}
	}
	t.Skip("no other thread")
	return 0
}

func list(t *testing.T, k *faketask.Task, nr, nameAt, fd, size int) (names []string) {
	t.Helper()
	buf := k.Map((size + page - 1) / page)
	for {
		r := k.Do(nr, fd, buf, size)
		if e := hypercall.Errno(r); e != 0 {
			t.Fatalf("%s: %v", hypercall.Lookup(nr).Name, e)
		}
		if r == 0 {
			return names
		}
		for b := k.Read(buf, int(r)); len(b) > 0; {
			n := int(uint16(le32(b[16:])))
			names = append(names, unix.ByteSliceToString(b[nameAt:n]))
			b = b[n:]
		}
	}
}

func TestKVMDevice(t *testing.T) {
	k := newTask(t)
	if _, err := os.Stat("/dev/kvm"); err != nil {
		t.Skip("no /dev/kvm")
	}
	wantErr(t, "open /dev/kvm", k.Do(unix.SYS_OPEN, k.Str("/dev/kvm"), unix.O_RDWR, 0), unix.EACCES)
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	wantErr(t, "KVM_GET_API_VERSION", k.Do(unix.SYS_IOCTL, fd, kvmIO<<8, 0), unix.ENOTTY)
}
