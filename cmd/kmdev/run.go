package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"kmdev/monitor"
	"kmdev/monitor/debug"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/loader"
)

// runConfig is what kmdev run was asked for.
type runConfig struct {
	opts     monitor.Options
	level    slog.Level
	gdb      bool
	listen   bool // --gdb-listen: don't wait for gdb
	port     int
	address  string
	help     bool
	argv0    string
	forwards []string // options for the monitor process, when this is its supervisor
}

// defaultPort is KM's.
const defaultPort = 2159

const runIntro = `usage: kmdev run [OPTIONS] [--] PAYLOAD [ARGS]

Run PAYLOAD, an ordinary Linux x86-64 program, in a virtual machine of its own. It has kmdev's stdin, stdout, stderr,
environment and working directory; its exit status is kmdev's, and a signal that kills it kills kmdev likewise.

`

const runOutro = `
Exit status: the payload's own; 125 if kmdev fails, 126 if PAYLOAD can't be run, 127 if it is not found.
`

func (c *runConfig) options() []option {
	keep := func(name string, set func(string) error) func(string) error {
		return func(v string) error {
			word := name
			if v != "" {
				word += "=" + v
			}
			c.forwards = append(c.forwards, word)
			return set(v)
		}
	}
	return []option{
		{"-g", "[PORT]", "stop before the first instruction and wait for gdb on PORT (default 2159; 0: any free one)",
			func(v string) error { c.gdb = true; return c.setPort(v) }},
		{"--gdb-listen", "", "let the payload run, and listen for gdb meanwhile, on the port that -g gives (default 2159)",
			func(string) error { c.listen = true; return nil }},
		{"--gdb-address", "ADDR", "listen on ADDR instead of 127.0.0.1. Who can connect owns the payload: use with care",
			func(v string) error { c.address = v; return nil }},
		{"--virt-device", "PATH", "the KVM device (default /dev/kvm)",
			keep("--virt-device", func(v string) error { c.opts.Device = v; return nil })},
		{"--unimplemented", "HOW", "what a hypercall that kmdev refuses does: errno (default) or abort, as KM did",
			keep("--unimplemented", c.setUnimplemented)},
		{"--die-with-parent", "", "kill the payload and all its children when the process that has started kmdev ends",
			keep("--die-with-parent", func(string) error { c.opts.DieWithParent = true; return nil })},
		{"--seccomp", "HOW", "on (default): the monitor's own system calls are filtered, see docs/security.md; off: they are not",
			keep("--seccomp", c.setSeccomp)},
		{"--uname", "FIELD=TEXT", "override a field of uname(2): sysname, nodename, release, version, machine, domainname",
			keep("--uname", c.setUname)},
		{"--no-aslr", "", "put the payload's memory at the same addresses each time, as gdb does",
			keep("--no-aslr", func(string) error { c.opts.NoASLR = true; return nil })},
		{"--argv0", "NAME", "give the payload NAME as argv[0]",
			keep("--argv0", func(v string) error { c.argv0 = v; return nil })},
		{"--stats", "FILE", "at the end, append a line of counters to FILE (-: stderr): exits, vCPU ioctls, vCPUs, page faults",
			keep("--stats", func(v string) error { c.opts.Stats = v; return nil })},
		{"--floor", "", "measure the bare host in this process first, and add it to the line of --stats",
			keep("--floor", func(string) error { c.opts.Floor = true; return nil })},
		{"--log-level", "LEVEL", "debug, info, warn (default) or error; the log goes to stderr",
			keep("--log-level", c.setLevel)},
		{"--debug-wait", "", "", func(string) error { c.opts.Wait = true; return nil }},
		{"-h,--help", "", "print this", func(string) error { c.help = true; return nil }},
	}
}

func (c *runConfig) setPort(v string) error {
	c.port = defaultPort
	if v == "" {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not a port: 0 to 65535", v)
	}
	c.port = n
	return nil
}

func (c *runConfig) setUnimplemented(v string) error {
	switch v {
	case "errno":
		c.opts.AbortUnimplemented = false
	case "abort":
		c.opts.AbortUnimplemented = true
	default:
		return fmt.Errorf("%q: say errno or abort", v)
	}
	return nil
}

func (c *runConfig) setSeccomp(v string) error {
	switch v {
	case "on":
		c.opts.NoSeccomp = false
	case "off":
		c.opts.NoSeccomp = true
	default:
		return fmt.Errorf("%q: say on or off", v)
	}
	return nil
}

var unameFields = []string{"sysname", "nodename", "release", "version", "machine", "domainname"}

func (c *runConfig) setUname(v string) error {
	field, text, ok := strings.Cut(v, "=")
	if !ok || !slices.Contains(unameFields, field) {
		return fmt.Errorf("%q: say FIELD=TEXT with FIELD one of %s", v, strings.Join(unameFields, ", "))
	}
	if len(text) > 64 {
		return fmt.Errorf("%s: a field of uname holds 64 bytes, this has %d", field, len(text))
	}
	if c.opts.Uname == nil {
		c.opts.Uname = map[string]string{}
	}
	c.opts.Uname[field] = text
	return nil
}

func (c *runConfig) setLevel(v string) error {
	return c.level.UnmarshalText([]byte(v))
}

func cmdRun(args []string) int {
	c := &runConfig{level: slog.LevelWarn, port: defaultPort, address: "127.0.0.1"}
	options := c.options()
	rest, err := parse(args, options)
	if err != nil {
		return complain(exitKMDEVError, "run: %v; see kmdev run --help", err)
	}
	if c.help {
		fmt.Print(runIntro)
		printOptions(os.Stdout, options)
		fmt.Print(runOutro)
		return 0
	}
	if len(rest) == 0 {
		return complain(exitKMDEVError, "run: no payload given; see kmdev run --help")
	}
	if c.listen {
		c.gdb = false // -g then says on which port
		return supervise(c, rest)
	}
	if c.gdb {
		return supervise(c, rest)
	}
	return c.runHere(rest)
}

// growStack makes the goroutine's stack large enough for all that follows: growing it by and by, each time copied, took 0.1 ms.
func growStack()

// runHere makes this process the monitor. It returns only if the payload could not be started.
func (c *runConfig) runHere(payload []string) int {
	if builtWithCgo { // the C library makes system calls of its own
		return complain(exitKMDEVError, "this kmdev was built with cgo, which a monitor can't live with: build it with make, or with CGO_ENABLED=0")
	}
	growStack()
	if err := hostcall.Init(); err != nil {
		return complain(exitKMDEVError, "%v", err)
	}
	c.opts.LogFD, c.opts.LogLevel = logFD(), c.level
	c.opts.Log = logTo(c.opts.LogFD, c.level)
	c.opts.Path, c.opts.Args, c.opts.Env = payload[0], slices.Clone(payload), hostcall.Environ()
	if c.argv0 != "" {
		c.opts.Args[0] = c.argv0
	}
	if !strings.Contains(c.opts.Path, "/") {
		c.opts.Path = lookPath(c.opts.Path)
	}
	channel, ok := debug.TakeFD()
	if !ok {
		channel = -1
	}
	c.opts.Env = slices.DeleteFunc(c.opts.Env, func(v string) bool { return strings.HasPrefix(v, debug.EnvFD+"=") })
	m, err := monitor.New(c.opts)
	if err == nil {
		err = m.Run(channel)
	}
	return complain(runFailure(err), "%v", err)
}

// logFD is standard error, on a descriptor that the payload can neither close nor put something else behind, and that its
// children inherit; -1 if it is closed.
func logFD() int {
	if hostcall.InheritedClosed()&(1<<2) != 0 {
		return -1
	}
	fd, err := monitor.KeepCopy(2)
	if err != nil {
		return 2
	}
	return fd
}

// logTo is the log on a descriptor of logFD's.
func logTo(fd int, level slog.Level) *slog.Logger {
	if fd < 0 {
		return newLog(io.Discard, level)
	}
	return newLog(fdWriter(fd), level)
}

// resume goes on with a payload process that another monitor has left to this one. It returns only if that fails.
func resume(state []byte) int {
	err := hostcall.Init()
	if err == nil {
		var m *monitor.Machine
		if m, err = monitor.Resume(state, logTo); err == nil {
			err = m.Run(-1)
		}
	}
	return complain(runFailure(err), "%v", err)
}

// fdWriter writes without Go's poller and without a finalizer.
type fdWriter int

func (fd fdWriter) Write(p []byte) (int, error) { return unix.Write(int(fd), p) }

// lookPath finds a bare name the way a shell does: in the working directory last of all, so that kmdev run hello.km works.
func lookPath(name string) string {
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		path := dir + "/" + name
		if st, err := os.Stat(path); dir != "" && err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return name
}

func runFailure(err error) int {
	var bad *loader.Error
	if errors.As(err, &bad) {
		return bad.ExitCode
	}
	return exitKMDEVError
}

// newLog is the log of a payload's run: one line a record, without the time.
func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}
