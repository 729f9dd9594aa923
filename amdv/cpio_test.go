package amdv

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"
)

// archive writes a cpio archive in the "newc" format of
// Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	bytes.Buffer
	inode int
	dirs  map[string]bool
}

func (a *archive) entry(name string, mode uint32, data []byte) {
	a.inode++
	fmt.Fprintf(a, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.WriteString(name)
	a.WriteByte(0)
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

// add stores data at an absolute path, with the directories above it.
func (a *archive) add(name string, data []byte) {
	name = strings.TrimPrefix(name, "/")
	a.mkdir(path.Dir(name))
	a.entry(name, 0o100755, data)
}

func (a *archive) mkdir(dir string) {
	if dir == "." || a.dirs[dir] {
		return
	}
	a.mkdir(path.Dir(dir))
	if a.dirs == nil {
		a.dirs = map[string]bool{}
	}
	a.dirs[dir] = true
	a.entry(dir, 0o040755, nil)
}

// addFile stores a file of the host, following symbolic links.
func (a *archive) addFile(name, host string) error {
	data, err := os.ReadFile(host)
	if err != nil {
		return err
	}
	a.add(name, data)
	return nil
}

// finish writes the trailer and returns the archive.
func (a *archive) finish() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return a.Bytes()
}
