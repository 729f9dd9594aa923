// Kmdev runs a Linux program in a virtual machine of its own and lets debuggers at it.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"kmdev/monitor/hostcall"
)

// The payload's main thread is this process's: its tid must be the pid.
func init() { runtime.LockOSThread() }

// command is a subcommand. run gets the arguments behind its name and gives the exit status.
type command struct {
	name  string
	short string
	run   func(args []string) int
}

var commands []command

func init() {
	commands = []command{
		{"run", "run a program in its own VM, with -g under a debugger", cmdRun},
		{"doctor", "say what this host's KVM offers and what is missing", cmdDoctor},
		{"syscalls", "print the table of hypercalls: what is served, passed through, refused", cmdSyscalls},
		{"version", "print the version", cmdVersion},
		{"help", "print this, or a command's help", cmdHelp},
	}
}

// Exit statuses of kmdev itself, as the shell uses them.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitCannotRun  = 126
	exitNotFound   = 127
	exitKMDEVError = 125 // kmdev, not the payload, failed (docker's convention)
)

func main() {
	if state, ok, err := hostcall.StateGiven(); err != nil {
		os.Exit(complain(exitKMDEVError, "%v", err))
	} else if ok {
		os.Exit(resume(state))
	}
	if len(os.Args) < 2 {
		usage(os.Stderr)
		os.Exit(exitUsage)
	}
	name := os.Args[1]
	switch name {
	case "-h", "--help":
		name = "help"
	case "-V", "--version":
		name = "version"
	}
	for _, c := range commands {
		if c.name == name {
			os.Exit(c.run(os.Args[2:]))
		}
	}
	fmt.Fprintf(os.Stderr, "kmdev: no command %q; kmdev help lists them\n", os.Args[1])
	os.Exit(exitUsage)
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: kmdev COMMAND [ARGS]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nkmdev COMMAND --help tells more.\n")
}

func cmdHelp(args []string) int {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] && c.name != "help" {
				return c.run([]string{"--help"})
			}
		}
	}
	usage(os.Stdout)
	return 0
}

// complain prints one line for people and returns status.
func complain(status int, format string, args ...any) int {
	fmt.Fprintf(os.Stderr, "kmdev: "+format+"\n", args...)
	return status
}
