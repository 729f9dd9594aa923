package gdbserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// Options of a server. The zero value is good.
type Options struct {
	Messages io.Writer // what people are told ("Remote debugging from host …"); nil for nothing
	Trace    io.Writer // every packet, for debugging the server; nil for nothing
	Name     string    // of the program, in qGDBServerVersion; empty for "kmdev"
	Version  string
	Attached bool // the process ran before the server came: a client that quits leaves it running
}

// Listen opens the listening socket on a port of the loopback interface, or on host:port. Port 0 takes a free one.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, unix.EADDRINUSE) {
		_, port, _ := net.SplitHostPort(address)
		return nil, fmt.Errorf("port %s is already in use: choose another with -gPORT or -g0", port)
	}
	return l, err
}

// Server serves one process to one client at a time.
type Server struct {
	proc target.Controller
	opts Options
	regs *target.RegisterSet
	busy atomic.Bool   // a client has engaged the process
	left chan struct{} // it no longer does

	// Of the clients, but kept between them.
	handles map[int]uint64 // threads' pthread_t, by tid
}

// New makes a server for a process.
func New(proc target.Controller, opts Options) *Server {
	info := proc.Info()
	return &Server{proc: proc, opts: opts, regs: target.NewRegisterSet(info.XCR0, info.Xsave), left: make(chan struct{}, 1), handles: map[int]uint64{}}
}

// Serve serves proc to the clients that connect to l, one after the other, until the process ends (nil) or ctx does (its error).
// It closes l. A client that leaves by detaching lets the process run; one that just vanishes leaves it as it is, stopped
// or running, without breakpoints. Whoever connects next stops it.
func Serve(ctx context.Context, l net.Listener, proc target.Controller, opts Options) error {
	return New(proc, opts).Serve(ctx, l)
}

// HasClient tells if a client has the process in hand: one that has sent something, and is still there. It may be called
// from any goroutine.
func (srv *Server) HasClient() bool { return srv.busy.Load() }

// Left delivers after such a client has left, when HasClient says so already. Several may merge into one.
func (srv *Server) Left() <-chan struct{} { return srv.left }

// Serve: see the function Serve.
func (srv *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	conns := make(chan net.Conn)
	go accept(ctx, l, conns)
	defer l.Close()
	events := srv.proc.Events()
	var next net.Conn
	for {
		if next == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case next = <-conns:
			case e, ok := <-events:
				if !ok || e.Kind == target.EventExited {
					return nil
				}
				continue // a stop that nobody waits for: the next client sees the state
			}
		}
		var ended bool
		if ended, next = srv.client(ctx, next, conns); ended {
			if next != nil {
				next.Close()
			}
			return nil
		}
	}
}

// client serves one connection. It returns whether the process has ended, and a connection to serve at once.
func (srv *Server) client(ctx context.Context, nc net.Conn, conns <-chan net.Conn) (bool, net.Conn) {
	defer srv.clientLeft()
	srv.message("Remote debugging from host %s\n", hostPort(nc))
	s := newSession(srv, nc)
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	another := s.run(ctx, conns)
	return s.ended, another
}

func (srv *Server) clientLeft() {
	if !srv.busy.Swap(false) {
		return
	}
	select {
	case srv.left <- struct{}{}:
	default:
	}
}

func (srv *Server) message(format string, a ...any) {
	if srv.opts.Messages != nil {
		fmt.Fprintf(srv.opts.Messages, format, a...)
	}
}

func hostPort(c net.Conn) string {
	host, port, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host + ", port " + port
}

// accept hands connections over one by one, so that no client waits in the kernel's queue without an answer.
func accept(ctx context.Context, l net.Listener, conns chan<- net.Conn) {
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && isTransient(err) {
				continue
			}
			return
		}
		select {
		case conns <- c:
		case <-ctx.Done():
			c.Close()
			return
		}
	}
}

// isTransient: the connection failed, not the listener (accept(2), "Error handling").
func isTransient(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EPROTO) || errors.Is(err, os.ErrDeadlineExceeded)
}
