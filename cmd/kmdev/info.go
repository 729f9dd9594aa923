package main

import (
	"fmt"
	"runtime"
)

// version is set by the Makefile.
var version = "unknown"

func cmdVersion([]string) int {
	fmt.Printf("kmdev %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return 0
}
