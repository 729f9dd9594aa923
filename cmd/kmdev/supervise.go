package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"kmdev/gdbserver"
	"kmdev/monitor/hostcall"
	"kmdev/target/live"
)

// supervise runs the payload's monitor as a child and serves gdb. It ends as the payload ends.
func supervise(c *runConfig, payload []string) int {
	if err := hostcall.Plain(); err != nil {
		return complain(exitKMDEVError, "%v", err)
	}
	if c.opts.DieWithParent { // the monitor's parent is this process
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return complain(exitKMDEVError, "--die-with-parent: %v", err)
		}
	}
	listener, err := gdbserver.Listen(net.JoinHostPort(c.address, strconv.Itoa(c.port)))
	if err != nil {
		return complain(exitKMDEVError, "%v", err)
	}
	defer listener.Close()
	live.Catch()
	p, err := startMonitor(c, payload)
	if err != nil {
		var ended *live.ExitError
		if errors.As(err, &ended) {
			if code, ok := ended.Status.Exited(); ok {
				return code // it has said why
			}
		}
		return complain(exitKMDEVError, "%v", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	what := "Waiting"
	if !c.gdb {
		what = "Listening"
	}
	fmt.Fprintf(os.Stderr, "%s for a debugger. Connect to it like this: gdb -q --ex=\"target remote localhost:%d\" %s\n", what, port, payload[0])
	server := gdbserver.New(p, gdbserver.Options{Version: version, Attached: !c.gdb})
	served := make(chan error, 1)
	serving, stopServing := context.WithCancel(context.Background())
	go func() { served <- server.Serve(serving, listener) }()
	status := p.Supervise(server)
	listener.Close()
	time.AfterFunc(gdbserver.LingerTime, stopServing) // a client that does not read must not hold this process
	<-served                                          // so that gdb gets the exit packet before this process is gone
	live.ExitAs(status)
	return exitKMDEVError
}

// startMonitor starts kmdev run as a child with the same payload and files, and the debug channel.
func startMonitor(c *runConfig, payload []string) (*live.Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{"run"}, c.forwards...)
	if c.gdb {
		args = append(args, "--debug-wait")
	}
	cmd := exec.Command(exe, append(append(args, "--"), payload...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return live.Start(cmd)
}
