package signal

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Default is what a signal does where its disposition is SIG_DFL (signal(7)).
type Default uint8

// The default actions. SIGCONT's is to be ignored: the kernel has continued the process when it was sent.
const (
	Term Default = iota // end the process
	Core                // end it and dump core
	Ign                 // nothing
	Stop                // stop the process; all but SIGSTOP are dropped in an orphaned process group
	Cont                // nothing more; sending it has continued the process
)

// minRT is the kernel's SIGRTMIN (glibc's is higher by the two that it keeps for itself).
const minRT = 32

// signals has the standard ones; real-time signals all have the default action Term.
var signals = [minRT]struct {
	name string
	def  Default
}{
	unix.SIGHUP:    {"SIGHUP", Term},
	unix.SIGINT:    {"SIGINT", Term},
	unix.SIGQUIT:   {"SIGQUIT", Core},
	unix.SIGILL:    {"SIGILL", Core},
	unix.SIGTRAP:   {"SIGTRAP", Core},
	unix.SIGABRT:   {"SIGABRT", Core},
	unix.SIGBUS:    {"SIGBUS", Core},
	unix.SIGFPE:    {"SIGFPE", Core},
	unix.SIGKILL:   {"SIGKILL", Term},
	unix.SIGUSR1:   {"SIGUSR1", Term},
	unix.SIGSEGV:   {"SIGSEGV", Core},
	unix.SIGUSR2:   {"SIGUSR2", Term},
	unix.SIGPIPE:   {"SIGPIPE", Term},
	unix.SIGALRM:   {"SIGALRM", Term},
	unix.SIGTERM:   {"SIGTERM", Term},
	unix.SIGSTKFLT: {"SIGSTKFLT", Term},
	unix.SIGCHLD:   {"SIGCHLD", Ign},
	unix.SIGCONT:   {"SIGCONT", Cont},
	unix.SIGSTOP:   {"SIGSTOP", Stop},
	unix.SIGTSTP:   {"SIGTSTP", Stop},
	unix.SIGTTIN:   {"SIGTTIN", Stop},
	unix.SIGTTOU:   {"SIGTTOU", Stop},
	unix.SIGURG:    {"SIGURG", Ign},
	unix.SIGXCPU:   {"SIGXCPU", Core},
	unix.SIGXFSZ:   {"SIGXFSZ", Core},
	unix.SIGVTALRM: {"SIGVTALRM", Term},
	unix.SIGPROF:   {"SIGPROF", Term},
	unix.SIGWINCH:  {"SIGWINCH", Ign},
	unix.SIGIO:     {"SIGIO", Term},
	unix.SIGPWR:    {"SIGPWR", Term},
	unix.SIGSYS:    {"SIGSYS", Core},
}

// aliases are the other names that Parse knows.
var aliases = map[string]int{
	"SIGIOT": int(unix.SIGABRT), "SIGPOLL": int(unix.SIGIO), "SIGCLD": int(unix.SIGCHLD),
	"SIGUNUSED": int(unix.SIGSYS), "SIGRTMIN": minRT, "SIGRTMAX": Max,
}

// DefaultOf is the default action of a valid signal.
func DefaultOf(sig int) Default {
	if sig > 0 && sig < minRT {
		return signals[sig].def
	}
	return Term
}

// Name is the signal's name, real-time ones as strace writes them: SIGRT_n, counted from the kernel's SIGRTMIN, 32. A
// number that is no signal is shown as itself.
func Name(sig int) string {
	switch {
	case !Valid(sig):
		return strconv.Itoa(sig)
	case sig < minRT:
		return signals[sig].name
	case sig == minRT:
		return "SIGRTMIN"
	}
	return "SIGRT_" + strconv.Itoa(sig-minRT)
}

// Parse understands what Name writes, with or without SIG, in either case, and decimal numbers.
func Parse(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if Valid(n) {
			return n, nil
		}
		return 0, fmt.Errorf("signal %d does not exist: use 1 to %d", n, Max)
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n, ok := aliases[name]; ok {
		return n, nil
	}
	if rest, ok := strings.CutPrefix(name, "SIGRT_"); ok {
		if n, err := strconv.ParseUint(rest, 10, 8); err == nil && Valid(minRT+int(n)) {
			return minRT + int(n), nil
		}
	}
	for sig, row := range signals {
		if row.name == name && sig != 0 {
			return sig, nil
		}
	}
	return 0, fmt.Errorf("unknown signal %q: use a name such as SIGUSR1 or a number from 1 to %d", s, Max)
}

// String lists the set's signals: {SIGINT SIGTERM}.
func (s Set) String() string {
	names := make([]string, 0, 4)
	for _, sig := range s.Signals() {
		names = append(names, Name(sig))
	}
	return "{" + strings.Join(names, " ") + "}"
}

// ignoredByDefault are the signals whose default action is to do nothing (SIG_KERNEL_IGNORE_MASK).
var ignoredByDefault = func() Set {
	var s Set
	for sig, row := range signals {
		if row.def == Ign || row.def == Cont {
			s = s.With(sig)
		}
	}
	return s
}()
