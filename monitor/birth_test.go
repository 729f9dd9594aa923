package monitor

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPidsLimit reads pids.max of both versions of cgroups, and of the groups around.
func TestPidsLimit(t *testing.T) {
	files := map[string]string{
		"/sys/fs/cgroup/a/pids.max":      "100\n",
		"/sys/fs/cgroup/a/b/pids.max":    "max\n",
		"/sys/fs/cgroup/pids/x/pids.max": "70\n",
	}
	read := func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	}
	for _, c := range []struct {
		text string
		want uint64
	}{
		{"0::/a/b\n", 100},
		{"0::/\n", unix.RLIM_INFINITY},
		{"0::/c\n", unix.RLIM_INFINITY},
		{"4:cpu,cpuacct:/x\n3:pids:/x/y\n", 70},
		{"3:pidsx:/x\n", unix.RLIM_INFINITY},
		{"nonsense\n:\n\n", unix.RLIM_INFINITY},
		{"", unix.RLIM_INFINITY},
	} {
		if got := readPidsLimit([]byte(c.text), read); got != c.want {
			t.Errorf("%q: %d, want %d", c.text, got, c.want)
		}
	}
}
