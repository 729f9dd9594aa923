package monitor

import (
	"fmt"
	"log/slog"
	"os"

	"kmdev/monitor/handover"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/loader"
	"kmdev/monitor/signal"

	"golang.org/x/sys/unix"
)

// addrNoRandomize is personality(2)'s ADDR_NO_RANDOMIZE.
const addrNoRandomize = 0x0040000

// Resume goes on with a payload process whose state (hostcall.StateGiven) another monitor has left: this process is its
// forked child, or the payload has called execve in it. newLog makes the log that the state tells of. On the main thread,
// after hostcall.Init; Run comes next.
func Resume(state []byte, newLog func(fd int, level slog.Level) *slog.Logger) (*Machine, error) {
	in := &inheritance{}
	r := handover.NewReader(state)
	in.read(r)
	if err := r.End(); err != nil {
		return nil, err
	}
	in.opts.Log = newLog(in.opts.LogFD, in.opts.LogLevel)
	dropOthers(in.kept())
	fds, err := newFDTable()
	if err != nil {
		return nil, err
	}
	fds.limit = in.limit
	if err := fds.apply(); err != nil {
		return nil, fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	m := &Machine{opts: in.opts, log: in.opts.Log, fds: fds, pid: os.Getpid(), given: in, host: &in.host,
		actions: signal.NewActions(in.actions), threads: map[int]*Thread{}, statsFD: in.statsFD, parentFD: in.parentFD, selfFD: in.selfFD}
	m.personality.Store(in.personality)
	m.limits.adopt(in.limits)
	hardware := m.startHardware(in.early)
	if in.forked {
		c := &in.child
		m.args, m.exe, m.exeFD, m.start, m.vdso = c.args, c.exe, c.exeFD, c.start, c.vdso
		return m, m.finish(hardware)
	}
	p := in.program
	p.Argv, p.Env = hostcall.Args(), hostcall.Environ()
	if m.program, err = loader.Adopt(p, loader.Options{NoRandomize: m.noRandomize()}); err != nil {
		return nil, err
	}
	return m, m.finish(hardware)
}

// noRandomize is personality(2)'s ADDR_NO_RANDOMIZE, or --no-aslr.
func (m *Machine) noRandomize() bool { return m.personality.Load()&addrNoRandomize != 0 }

// keepSelf opens the monitor's own binary, for fork and execve: later there may be no /proc.
func (m *Machine) keepSelf() error {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening kmdev itself, for fork and execve (is /proc mounted, and may kmdev be read?): %w", err)
	}
	m.selfFD, err = m.fds.Keep(fd)
	return err
}
