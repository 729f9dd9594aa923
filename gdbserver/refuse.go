package gdbserver

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// refuse answers a second client's first packet with an error and closes: it need not wait to learn that it can't be served.
func refuse(ctx context.Context, second, first net.Conn) {
	defer second.Close()
	defer context.AfterFunc(ctx, func() { second.Close() })()
	c := &conn{rw: second}
	in := make(chan input)
	quit := make(chan struct{})
	defer close(quit)
	go c.read(in, quit)
	for i := range in {
		if i.err != nil {
			return
		}
		if i.packet != nil {
			c.send(fmt.Appendf(nil, "E.another debugger is connected: from %s", printable(hostPort(first))))
			return
		}
	}
}

// hungUp tells if the other end of a connection has closed it, whatever was received and not read yet.
func hungUp(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}
