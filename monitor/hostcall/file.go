package hostcall

import (
	"strings"

	"golang.org/x/sys/unix"
)

// readStrings reads a file of strings that each end in a zero byte.
func readStrings(path string) ([]string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fileError("open", path, err)
	}
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, fileError("read", path, err)
		case n == 0 && len(all) == 0:
			return nil, nil
		case n == 0:
			return strings.Split(strings.TrimSuffix(string(all), "\x00"), "\x00"), nil
		default:
			all = append(all, buf[:n]...)
		}
	}
}

// copyFile writes a file's contents to dst.
func copyFile(dst int, path string) error {
	src, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fileError("open", path, err)
	}
	defer unix.Close(src)
	for {
		n, err := unix.Sendfile(dst, src, nil, 1<<30)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fileError("copy", path, err)
		case n == 0:
			return nil
		}
	}
}

func fileError(op, path string, err error) error {
	if e, ok := err.(unix.Errno); ok {
		return &Error{op + " " + path, e}
	}
	return err
}
