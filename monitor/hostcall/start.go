//lint:file-ignore U1000 assembly refers to what looks unused

package hostcall

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// runtimeEnv is what Go's runtime finds in the environment before anything else (the first mention of a name counts):
// no preemption by signals, since every signal belongs to the payload, and none of the variables that are meant for a
// payload written in Go. Another P at the start would be woken for the runtime's own goroutines, with a thread each time: the
// monitor asks for more when it has started. The entry reads it.
var runtimeEnv = []string{
	"GODEBUG=asyncpreemptoff=1,containermaxprocs=0,updatemaxprocs=0\x00",
	"GOGC=\x00",
	"GOMEMLIMIT=\x00",
	"GOMAXPROCS=1\x00",
	"GOTRACEBACK=\x00",
}

// Written by the entry before the runtime runs.
var (
	startVector      uintptr // argc, argv, NULL, envp, NULL, auxv as the kernel made them; 0: the entry was not used
	inheritedMask    uint64
	inheritedIgnored uint64
	inheritedNofile  unix.Rlimit
)

func entryAddresses() (entry, continueAt uintptr)

var started bool

// Init makes this process a monitor: every signal but SIGSEGV and SIGBUS is blocked in every thread of it, and our
// handler stands before the runtime's. It is called once, on the process's first thread, before anything else; lock the
// main goroutine by runtime.LockOSThread in an init function of package main.
//
// A binary linked with -ldflags='-E kmdev_rt0' has had its signals blocked since its first instruction. In any other
// (go test, go install) Init executes a copy of the program that has this entry, and does not return the first time.
func Init() error {
	switch {
	case started:
		return errors.New("hostcall: Init called twice")
	case unix.Gettid() != unix.Getpid():
		return errors.New("hostcall: Init must run on the process's first thread: call runtime.LockOSThread in an init function of package main")
	case startVector == 0:
		return startAgain()
	case sigtablePatched == 0:
		return errors.New("hostcall: this Go runtime's signal table is not the one known here (monitor/hostcall/sigtable.go): build kmdev with the Go version in go.mod")
	}
	if pollerAtInit != nil {
		return pollerAtInit
	}
	if err := prepare(); err != nil {
		return err
	}
	started = true
	return nil
}

func prepare() error {
	atomic.CompareAndSwapInt32(&mainThread, 0, int32(getpid()))
	accessAddresses(&accessAt)
	if err := checkLayout(); err != nil {
		return err
	}
	if err := makeCookies(); err != nil {
		return err
	}
	if err := mapArena(); err != nil {
		return err
	}
	if err := installHandlers(); err != nil {
		return err
	}
	freeWindow()
	closePoller()
	setMask(threadMask)
	return nil
}

// checkLayout makes sure that the linker has kept the order in which the assembly files stand, by which the handler
// goes. The parts are so small that nothing else fits between them.
func checkLayout() error {
	const most = 512 // bytes between neighbours
	e, w, i, f, r := stubAddresses()
	t := &accessAt
	for _, run := range [][]uintptr{{e, w, i, f, r}, {t.copyBytes, t.copyTail, t.copyDone, t.perform, t.ops[0]}} {
		for k := 1; k < len(run); k++ {
			if run[k] <= run[k-1] || run[k]-run[k-1] > most {
				return errors.New("hostcall: the linker has reordered the assembly code (-randlayout, a profile?): build without that")
			}
		}
	}
	return nil
}

// InheritedMask is the signal mask that this process was started with, which is the payload's (bit sig-1). Without the
// entry in the file, those are missing that Go's runtime opens: see runtimeOpens, and SIGURG.
func InheritedMask() uint64 { return inheritedMask }

// InheritedIgnored is the set of signals that were ignored when this process was started (bit sig-1), which the payload
// inherits. Without the entry in the file, those are missing that Go's runtime caught before Init: all but SIGHUP,
// SIGINT, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU and 32 to 34.
func InheritedIgnored() uint64 { return inheritedIgnored }

// InheritedNofile is RLIMIT_NOFILE as it was when this process was started; package os has raised the soft limit since.
func InheritedNofile() unix.Rlimit { return inheritedNofile }
