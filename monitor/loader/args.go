package loader

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of execve(2) on its strings, each with its NUL: MAX_ARG_STRLEN for one, and for all together a quarter of the
// stack limit, at least ARG_MAX and at most three quarters of _STK_LIM (bprm_stack_limits in fs/exec.c).
const (
	maxArgStrlen  = 32 * pageSize
	argMax        = 32 * pageSize
	maxArgStrings = 8 << 20 / 4 * 3

	// MaxStackImage bounds what Map writes at the top of the stack, in bytes: strings and pointers, the random gap, the
	// tables.
	MaxStackImage = maxArgStrings + maxGap + pageSize
)

// args is the argument list in the making: #! rewrites it, always within the budget.
type args struct {
	filename  string
	argv, env []string
	budget    int // bytes that the strings may still take
}

func newArgs(filename string, argv, env []string, stackLimit uint64) (*args, *fault) {
	limit := max(min(uint64(maxArgStrings), stackLimit/4), argMax)
	pointers := uint64(max(len(argv), 1)+len(env)) * 8
	if limit <= pointers {
		return nil, tooBig(len(argv), len(env), limit)
	}
	// The strings, and the 8 zero bytes above them, also have to fit the stack itself (get_arg_page).
	room := min(limit-pointers, max(pageDown(stackLimit), pageSize)-8)
	a := &args{filename: filename, env: env, budget: int(room)}
	a.argv = append(make([]string, 0, len(argv)+1), argv...)
	if len(argv) == 0 {
		a.argv = append(a.argv, "") // since Linux 5.18, so that no program walks from argv[1] into envp
	}
	if f := a.charge(filename); f != nil {
		return nil, f
	}
	for _, list := range [][]string{env, a.argv} {
		for _, s := range list {
			if f := a.charge(s); f != nil {
				return nil, f
			}
		}
	}
	return a, nil
}

func tooBig(argc, envc int, limit uint64) *fault {
	return faultf(unix.E2BIG, "argument list too long: %d arguments and %d environment variables take more than %d bytes; "+
		"pass less, or raise the stack limit (ulimit -s)", argc, envc, limit)
}

// charge takes one string from the budget.
func (a *args) charge(s string) *fault {
	n := len(s) + 1
	if n > maxArgStrlen {
		return faultf(unix.E2BIG, "an argument or environment variable has %d bytes; Linux allows %d", n-1, maxArgStrlen-1)
	}
	if a.budget -= n; a.budget < 0 {
		return faultf(unix.E2BIG, "argument list too long; pass less, or raise the stack limit (ulimit -s)")
	}
	if strings.IndexByte(s, 0) >= 0 {
		return faultf(unix.EINVAL, "an argument or environment variable contains a NUL byte; remove it")
	}
	return nil
}

// rewrite puts the script's interpreter, its argument and the script's own name in the place of argv[0].
func (a *args) rewrite(s shebang, script string) *fault {
	a.budget += len(a.argv[0]) + 1
	front := []string{s.interp, s.arg, script}
	if !s.hasArg {
		front = []string{s.interp, script}
	}
	for _, str := range front {
		if f := a.charge(str); f != nil {
			return f
		}
	}
	a.argv = append(front, a.argv[1:]...)
	return nil
}
