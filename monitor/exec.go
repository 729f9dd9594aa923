package monitor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kmdev/monitor/handover"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/hypercall"
	"kmdev/monitor/loader"
	"kmdev/monitor/signal"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

func (t *Thread) execve(a *[6]uint64) uint64 { return t.exec(nil, a[0], a[1], a[2]) }

func (t *Thread) execveat(a *[6]uint64) uint64 {
	at := &loader.At{Dirfd: unix.AT_FDCWD, Flags: int(int32(a[4]))}
	if fd := int32(a[0]); fd != unix.AT_FDCWD {
		at.Dirfd = int(int32(hypercall.HostFD(t, a[0])))
	}
	return t.exec(at, a[1], a[2], a[3])
}

// exec is execve. Whatever can be wrong with the program is found out first, and is the payload's errno; then this process
// executes a new monitor, which finds the program's open files and the rest of the process's state in what this one hands
// over. It returns if that fails, or in a vfork child's parent.
func (t *Thread) exec(at *loader.At, path, argv, envp uint64) uint64 {
	p, e := t.openProgram(at, path, argv, envp)
	if e != 0 {
		return fail(e)
	}
	in, e := t.inheritProgram(p)
	if e != 0 {
		p.Close()
		return fail(e)
	}
	e = t.replace(in, p)
	for _, fd := range []int{in.program.Exec, in.program.Interp} {
		if fd >= 0 && e != 0 {
			unix.Close(fd)
		}
	}
	return fail(e)
}

// openProgram reads execve's arguments and opens the program.
func (t *Thread) openProgram(at *loader.At, path, argv, envp uint64) (*loader.Program, unix.Errno) {
	name, e := usermem.ReadString(path, unix.PathMax)
	if e != 0 {
		return nil, e
	}
	args, e := readStrings(argv)
	if e != 0 {
		return nil, e
	}
	env, e := readStrings(envp)
	if e != 0 {
		return nil, e
	}
	p, err := loader.Open(name, args, env, loader.Options{At: at, TextBusy: true, NoRandomize: t.m.noRandomize(),
		OpenFile: t.openAside, HostPath: t.m.hostPath})
	if err != nil {
		var bad *loader.Error
		errors.As(err, &bad)
		return nil, bad.Errno
	}
	return p, 0
}

// maxStrings bounds an argument or environment vector, as MAX_ARG_STRINGS would if memory did not before: the strings may
// take 6 MiB with their pointers.
const maxStrings = 8 << 20 / 8

// maxString is MAX_ARG_STRLEN.
const maxString = 128 << 10

// readStrings reads a vector of strings, nil for a null pointer.
func readStrings(vector uint64) (list []string, e unix.Errno) {
	for ; vector != 0; vector += 8 {
		p, e := usermem.ReadUint64(vector)
		switch {
		case e != 0:
			return nil, e
		case p == 0:
			return list, 0
		case len(list) == maxStrings:
			return nil, unix.E2BIG
		}
		s, e := usermem.ReadString(p, maxString)
		if e == unix.ENAMETOOLONG {
			e = unix.E2BIG
		}
		if e != 0 {
			return nil, e
		}
		list = append(list, s)
	}
	return nil, 0
}

// openAside opens a file for the loader out of the payload's reach.
func (t *Thread) openAside(dirfd int, path string, flags int) (int, error) {
	return t.m.fds.Open(func() (int, error) { return unix.Openat(dirfd, path, flags, 0) })
}

// hostPath gives a name for /proc/self/exe under which the host finds the payload's program instead of the monitor's.
func (m *Machine) hostPath(path string) string {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return path
	}
	who, ok := strings.CutSuffix(rest, "/exe")
	if ok && (who == "self" || who == "thread-self" || who == strconv.Itoa(m.pid)) {
		return "/proc/self/fd/" + strconv.Itoa(m.exeFD)
	}
	return path
}

// inheritProgram is what the new monitor finds; it takes over p's files.
func (t *Thread) inheritProgram(p *loader.Program) (*inheritance, unix.Errno) {
	in := t.m.inherit(t)
	in.actions = in.actions.Exec()
	in.sig.Alt, in.sig.Trap = in.sig.Alt.Exec(), signal.Trap{}
	in.program = loader.Handed{Filename: p.Filename, Exe: p.Exe}
	exec, interp := p.Files()
	var err error
	if in.program.Exec, err = t.m.fds.Keep(exec); err != nil {
		return nil, unix.ENFILE
	}
	in.program.Interp = -1
	if interp >= 0 {
		if in.program.Interp, err = t.m.fds.Keep(interp); err != nil {
			unix.Close(in.program.Exec)
			return nil, unix.ENFILE
		}
	}
	return in, 0
}

// replace executes the new monitor.
func (t *Thread) replace(in *inheritance, p *loader.Program) unix.Errno {
	m := t.m
	var w handover.Writer
	in.write(&w)
	fd, err := m.stateFile(w.Bytes())
	if err != nil {
		m.log.Error("execve", "err", err)
		return unix.ENOMEM
	}
	call, e := execCall(m.selfFD, p.Argv, slices.Insert(slices.Clone(p.Env), 0, hostcall.GivenEntry(fd)))
	if e != 0 {
		unix.Close(fd)
		return e
	}
	var r uintptr
	if m.vfork != nil {
		robust, clear := t.robust, t.clearTID
		t.leaveMemory()
		t.robust.head, t.clearTID = 0, 0
		var ended bool
		if r, ended = call.vforked(m.vfork); ended {
			t.done = true
			return 0
		}
		t.robust, t.clearTID = robust, clear
	} else {
		t.releaseRobust()
		r = call.do()
	}
	unix.Close(fd)
	return unix.Errno(-r)
}

// stateFile makes a file of a state that outlives execve. The payload's hard RLIMIT_FSIZE is the host's: under a small one it
// is a pipe.
func (m *Machine) stateFile(state []byte) (int, error) {
	fd, err := m.keep(func() (int, error) { return unix.MemfdCreate("kmdev-state", 0) })
	if err != nil {
		return -1, fmt.Errorf("a file for the state: %w", err)
	}
	err = hostcall.OwnFile(func() error {
		n, err := unix.Pwrite(fd, state, 0)
		if err == nil && n != len(state) {
			err = unix.EFBIG
		}
		return err
	})
	if err == unix.EFBIG {
		unix.Close(fd)
		fd, err = m.statePipe(state)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("writing the state: %w", err)
	}
	return fd, nil
}

// keep opens a descriptor that outlives execve.
func (m *Machine) keep(open func() (int, error)) (int, error) {
	fd, err := m.fds.open(open)
	if err != nil {
		return -1, err
	}
	kept, err := m.fds.Keep(fd)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return kept, nil
}

// statePipe is the read end of a pipe that holds a state, if one can be had of that size.
func (m *Machine) statePipe(state []byte) (int, error) {
	var to int
	from, err := m.keep(func() (int, error) {
		var ends [2]int
		err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK)
		to = ends[1]
		return ends[0], err
	})
	if err != nil {
		return -1, err
	}
	to, err = m.fds.Relocate(to)
	defer unix.Close(to)
	if err != nil {
		return from, err
	}
	if room, _ := unix.FcntlInt(uintptr(to), unix.F_GETPIPE_SZ, 0); room < len(state) {
		unix.FcntlInt(uintptr(to), unix.F_SETPIPE_SZ, len(state)) // without it the write is short
	}
	n, err := unix.Write(to, state)
	if err == nil && n != len(state) {
		err = unix.EFBIG
	}
	return from, err
}
