// probe prints which file it runs from once hostcall has started.
package main

import (
	"fmt"
	"os"
	"runtime"

	"kmdev/monitor/hostcall"
)

func init() { runtime.LockOSThread() }

func main() {
	if err := hostcall.Init(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(exe)
}
