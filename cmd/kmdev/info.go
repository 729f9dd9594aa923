package main

import (
	"fmt"
	"os"
	"runtime"

	"kmdev/monitor/hypercall"
)

// version is set by the Makefile.
var version = "unknown"

func cmdVersion([]string) int {
	fmt.Printf("kmdev %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return 0
}

const syscallsIntro = `usage: kmdev syscalls [--markdown]

Print the table of hypercalls: each system call of x86-64 Linux, and how it is served.

`

func cmdSyscalls(args []string) int {
	format, help := hypercall.Text, false
	options := []option{
		{"--markdown", "", "print the page docs/syscalls.md", func(string) error { format = hypercall.Markdown; return nil }},
		{"-h,--help", "", "print this", func(string) error { help = true; return nil }},
	}
	rest, err := parse(args, options)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected %q", rest[0])
	}
	if err != nil {
		return complain(exitUsage, "syscalls: %v; see kmdev syscalls --help", err)
	}
	if help {
		fmt.Print(syscallsIntro)
		printOptions(os.Stdout, options)
		return 0
	}
	if err := hypercall.WriteTable(os.Stdout, format); err != nil {
		return complain(exitFailure, "syscalls: %v", err)
	}
	return 0
}
