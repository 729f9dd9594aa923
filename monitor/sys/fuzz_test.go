package sys

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// FuzzRights feeds control messages to checkRights and looks, as the kernel
// would, whether one of the monitor's descriptors has come through.
func FuzzRights(f *testing.F) {
	f.Add(unix.UnixRights(1, 2, 900))
	f.Add(append(unix.UnixRights(701), unix.UnixRights(3, 1<<30)...))
	f.Add(unix.UnixCredentials(&unix.Ucred{}))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 1, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, c []byte) {
		k := newTask(t)
		checkRights(k, c)
		for len(c) >= 16 {
			n := le64(c)
			if n < 16 || n > uint64(len(c)) {
				return
			}
			if le32(c[8:]) == unix.SOL_SOCKET && le32(c[12:]) == unix.SCM_RIGHTS {
				for i := uint64(16); i+4 <= n; i += 4 {
					if fd := int32(le32(c[i:])); fd >= int32(k.FDLimit()) && fd != hypercall.ClosedFD {
						t.Errorf("descriptor %d", fd)
					}
				}
			}
			next := (n + 7) &^ 7
			if next > uint64(len(c)) {
				return
			}
			c = c[next:]
		}
	})
}

// pathParts are what FuzzPaths makes paths of.
var pathParts = []string{
	"", ".", "..", "proc", "self", "thread-self", "fd", "fdinfo", "task", "root", "cwd", "exe", "ns", "net", "maps", "1", "0", "dev",
	"null", "stdin", "mounts", "sys", "kernel", "ostype", "tmp", "none", "/",
}

// FuzzPaths opens paths through the walk that follows magic links by hand, and
// natively, and compares what they lead to.
func FuzzPaths(f *testing.F) {
	f.Add([]byte{0, 3, 4, 11}, false)
	f.Add([]byte{0, 3, 4, 9, 3, 4, 6, 16}, true)
	f.Add([]byte{0, 3, 20}, false)
	f.Add([]byte{0, 17, 19, 0}, false)
	f.Add([]byte{3, 4, 10, 2, 2, 3, 5, 8}, false)
	f.Fuzz(func(t *testing.T, choice []byte, nofollow bool) {
		if len(choice) > 40 {
			return
		}
		k := newTask(t)
		parts := make([]string, len(choice))
		for i, c := range choice {
			parts[i] = pathParts[int(c)%len(pathParts)]
		}
		path := strings.Join(parts, "/")
		flags := unix.O_PATH | unix.O_CLOEXEC
		if nofollow {
			flags |= unix.O_NOFOLLOW
		}
		comparePath(t, path, flags, k.Do(unix.SYS_OPEN, k.Str(path), flags, 0), fileOf(t, k.Proc.ExePath))
	})
}

func comparePath(t *testing.T, path string, flags int, r uint64, exe fileID) {
	t.Helper()
	native, err := unix.Open(path, flags, 0)
	if err == nil {
		defer unix.Close(native)
	}
	if e := hypercall.Errno(r); e != 0 || err != nil {
		if e != errnoOf0(err) {
			t.Errorf("%q: %v, natively %v", path, e, err)
		}
		if e == 0 {
			unix.Close(int(r))
		}
		return
	}
	defer unix.Close(int(r))
	var x, y unix.Statx_t
	if !statxFD(int(r), &x, 0) || !statxFD(native, &y, 0) {
		t.Fatal("statx")
	}
	switch {
	case idOf(&y) == proc.exe:
		if idOf(&x) != exe {
			t.Errorf("%q leads to %v, not to the program", path, idOf(&x))
		}
	case strings.Contains(path, "self") && x.Mode&unix.S_IFMT == y.Mode&unix.S_IFMT && devOf(&x) == devOf(&y):
		// Descriptors and threads come and go, with inodes of their own.
	case idOf(&x) != idOf(&y):
		t.Errorf("%q leads to %v, natively to %v", path, idOf(&x), idOf(&y))
	}
}

func fileOf(t *testing.T, name string) fileID {
	t.Helper()
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_INO, &x); err != nil {
		t.Fatal(err)
	}
	return idOf(&x)
}
