package debug

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// EnvFD is the environment variable that tells a monitor the descriptor of its end of the channel.
const EnvFD = "KMDEV_DEBUG_FD"

// TakeFD gives the descriptor that the supervisor announced, and removes it from the environment so that the payload
// does not see it. False if there is none: the monitor was started without a debugger.
func TakeFD() (fd int, ok bool) {
	fd, err := strconv.Atoi(os.Getenv(EnvFD))
	os.Unsetenv(EnvFD)
	if err != nil || fd < 0 {
		return 0, false
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return fd, err == nil
}

// FD makes the server's end of the channel out of a socket. It is read and written by blocking system calls, without
// Go's poller (whose descriptors would take numbers that are the payload's), and without SIGPIPE.
type FD int

func (fd FD) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (fd FD) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.SendmsgN(int(fd), p[done:], nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}
