package sys

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/internal/faketask"
	"kmdev/monitor/hypercall"
)

// inNamespace runs fn as a payload thread with mounts of its own. The host
// thread ends with it.
func inNamespace(t *testing.T, fn func(k *faketask.Task, dir string)) {
	t.Helper()
	procfs(newTask(t))
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		k := faketask.New(t, faketask.NewProcess())
		k.Handlers = handlers
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Log("needs CAP_SYS_ADMIN:", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			t.Error(err)
			return
		}
		fn(k, dir)
	}()
	<-done
}

// TestMovedProc moves /proc to a place where the paths of its files read like
// something else.
func TestMovedProc(t *testing.T) {
	inNamespace(t, func(k *faketask.Task, dir string) {
		own := secret(t, k)
		steps := []error{
			unix.Mount("/proc", dir, "", unix.MS_MOVE, ""),
			unix.Mount("none", "/proc", "tmpfs", 0, ""),
			os.Mkdir("/proc/x", 0o755),
			unix.Mount(dir, "/proc/x", "", unix.MS_MOVE, ""),
		}
		for i, err := range steps {
			if err != nil {
				t.Errorf("step %d: %v", i, err)
				return
			}
		}
		for _, file := range []string{"stack", "map_files"} {
			wantErr(t, file, k.Do(unix.SYS_OPEN, k.Str("/proc/x/self/"+file), unix.O_RDONLY, 0), unix.EACCES)
		}
		checkMemory(t, k, "moved", "/proc/x/self/mem")
		wantErr(t, "fd", k.Do(unix.SYS_OPEN, k.Str(fmt.Sprintf("/proc/x/self/fd/%d", own)), unix.O_RDWR, 0), unix.ENOENT)
		k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/x/meminfo"), 0, 0))
	})
}

// TestProcessOverMounted: with another process's directory mounted over its own, /proc/self/exe is the other's.
func TestProcessOverMounted(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	dir := fmt.Sprintf("/proc/%d", other.Process.Pid)
	inNamespace(t, func(k *faketask.Task, _ string) {
		const size = 4096
		exe, buf := k.Str(ownExe), k.Map(1)
		read := func() string { return string(k.Read(buf, int(k.Do(unix.SYS_READLINK, exe, buf, size)))) }
		k.Proc.ExePath, k.Proc.ExeFile = "/payload", -1
		if got := read(); got != "/payload" {
			t.Errorf("before: %q", got)
		}
		if err := unix.Mount(dir, fmt.Sprintf("/proc/%d", os.Getpid()), "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
			return
		}
		want, err := os.Readlink(dir + "/exe")
		if err != nil {
			t.Error(err)
			return
		}
		if got := read(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestChrootHasNoWayOut: a payload with another root does not get out of it
// through the monitor's descriptors.
func TestChrootHasNoWayOut(t *testing.T) {
	outside := t.TempDir()
	inNamespace(t, func(k *faketask.Task, dir string) {
		if err := os.Mkdir(filepath.Join(dir, "proc"), 0o755); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("/proc", filepath.Join(dir, "proc"), "", unix.MS_BIND, ""); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			t.Error(err)
			return
		}
		want(t, "chroot", k.Do(unix.SYS_CHROOT, k.Str(dir)), 0)
		want(t, "chdir", k.Do(unix.SYS_CHDIR, k.Str("/")), 0)
		for _, out := range []string{fmt.Sprintf("/proc/self/fd/%d/..%s/new", proc.fd, outside), fmt.Sprintf("/proc/self/fd/%d/../..%s/new", proc.fd, outside)} {
			if r := k.Do(unix.SYS_MKDIR, k.Str(out), 0o755); r == 0 {
				t.Errorf("mkdir %s", out)
			}
			if r := k.Do(unix.SYS_OPEN, k.Str(out), unix.O_CREAT, 0o755); hypercall.Errno(r) == 0 {
				t.Errorf("open %s", out)
			}
		}
		wantErr(t, "chdir to the monitor's", k.Do(unix.SYS_CHDIR, k.Str(fmt.Sprintf("/proc/self/fd/%d", proc.fd))), unix.ENOENT)
		k.FD(k.Do(unix.SYS_OPEN, k.Str("/proc/self/limits"), 0, 0))
	})
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside: %v %v", names, err)
	}
}

func TestMountOf(t *testing.T) {
	p := procfs(newTask(t))
	for _, name := range []string{"/", "/proc/self/maps", "/dev/null", "/proc/meminfo", t.TempDir()} {
		fd := mustOpen(t, name)
		var x, old unix.Statx_t
		if !statxFD(fd, &x, statxMntUnique) || !statxFD(fd, &old, unix.STATX_MNT_ID) {
			t.Fatal("statx")
		}
		root, top, ok := mountinfo(p, old.Mnt_id)
		if !ok {
			t.Errorf("%s: not in mountinfo", name)
		}
		if x.Mask&statxMntUnique != 0 {
			if root2, top2, ok := statmount(x.Mnt_id); !ok || root2 != root || top2 != top {
				t.Errorf("%s: statmount says %q %q %v, mountinfo %q %q", name, root2, top2, ok, root, top)
			}
		}
		unix.Close(fd)
	}
	for in, want := range map[string]string{"/a": "/a", `/a\040b`: "/a b", `\134`: `\`, `/a\04`: `/a\04`, `\999`: `\999`, `a\`: `a\`} {
		if got := unescapeMount(in); got != want {
			t.Errorf("unescapeMount(%q) = %q, want %q", in, got, want)
		}
	}
}
