package hostcall

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// marker is the first environment entry of a process that startAgain or Plain has executed: marker=again,MASK,IGNORED,SOFT,HARD or
// marker=plain. The entry looks for the name.
const marker = "KMDEVRT0"

// startAgain executes this program again with every signal blocked, or, the second time, takes over what the first has passed on.
func startAgain() error {
	env, err := readEnviron()
	if err != nil {
		return err
	}
	if len(env) > 0 && strings.HasPrefix(env[0], marker+"=again,") {
		return adopt(env[0])
	}
	ignored, err := ignoredNow()
	if err != nil {
		return err
	}
	mask := setMask(^uint64(0))
	mark := strings.Join([]string{marker + "=again", hex(mask), hex(ignored), hex(nofileAtInit.Cur), hex(nofileAtInit.Max)}, ",")
	next := []string{mark}
	for _, v := range runtimeEnv {
		next = append(next, strings.TrimSuffix(v, "\x00"))
	}
	err = execSelf(append(next, env...))
	setMask(mask)
	return err
}

func adopt(mark string) error {
	var v [4]uint64
	fields := strings.Split(mark, ",")[1:]
	if len(fields) != len(v) {
		return errors.New("hostcall: environment variable " + marker + " is not one of ours: unset it")
	}
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 16, 64)
		if err != nil {
			return errors.New("hostcall: environment variable " + marker + " is not one of ours: unset it")
		}
		v[i] = n
	}
	inheritedMask, inheritedIgnored = v[0], v[1]
	inheritedNofile = unix.Rlimit{Cur: v[2], Max: v[3]}
	return unix.Unsetenv(marker)
}

// Plain makes this process an ordinary one, with the signal mask, ignored signals and environment that it was started with: for front ends, which want Ctrl-C to
// work, os/signal, and children that don't inherit a full mask. It executes the program again without the entry's doing, and returns nil the second time, or at
// once in a binary without the entry. Called first thing in main, before Init and instead of it.
func Plain() error {
	if v, ok := unix.Getenv(marker); ok && v == "plain" {
		return unix.Unsetenv(marker)
	}
	if startVector == 0 {
		return nil
	}
	env := Environ()
	for sig := 1; sig <= numSignals; sig++ {
		if inheritedIgnored&(1<<(sig-1)) != 0 {
			rtSigaction(sig, &sigaction{handler: sigIgn}, nil)
		}
	}
	runtime.LockOSThread()
	setMask(inheritedMask)
	return execSelf(append([]string{marker + "=plain"}, env...))
}

func execSelf(env []string) error {
	args := Args()
	if len(args) == 0 {
		return errors.New("hostcall: started without argv[0]")
	}
	err := unix.Exec("/proc/self/exe", args, env)
	if e, ok := err.(unix.Errno); ok {
		return &Error{"execute /proc/self/exe again (is /proc mounted?)", e}
	}
	return err
}

func hex(v uint64) string { return strconv.FormatUint(v, 16) }

// ignoredNow reads the set of ignored signals from /proc/self/status.
func ignoredNow() (uint64, error) {
	text, err := readFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	return statusField(text, "SigIgn:")
}

func statusField(text, name string) (uint64, error) {
	_, rest, ok := strings.Cut(text, "\n"+name+"\t")
	line, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseUint(line, 16, 64)
	if !ok || err != nil {
		return 0, errors.New("hostcall: no " + name + " in /proc/self/status")
	}
	return v, nil
}

// healThreads closes the threads that the runtime had started before patchSigtable, with signals open: it prods each until /proc shows the right mask. Threads
// made since are right from the start.
func healThreads() error {
	for {
		before := loadHealed()
		open, err := openThreads()
		if err != nil || len(open) == 0 {
			return err
		}
		for _, tid := range open {
			Kick(tid)
		}
		waitHealed(before)
	}
}

// openThreads lists the threads of this process whose mask is not threadMask.
func openThreads() (open []int, err error) {
	names, err := readDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := readFile("/proc/self/task/" + name + "/status")
		if err != nil {
			continue // ended
		}
		tid, err := strconv.Atoi(name)
		if err != nil {
			return nil, errors.New("hostcall: /proc/self/task holds " + name)
		}
		if blocked, err := statusField(text, "SigBlk:"); err != nil {
			return nil, err
		} else if blocked&threadMask != threadMask {
			open = append(open, tid)
		}
	}
	return open, nil
}

func stringAt(p uintptr) string { return unix.BytePtrToString((*byte)(unsafe.Pointer(p))) }
