// Command small is what the Go tool builds, vets and tests under kmdev.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"

	"example.invalid/small/words"
)

func main() {
	var wg sync.WaitGroup
	out := make([]string, len(os.Args))
	for i, a := range os.Args[1:] {
		wg.Add(1)
		go func(i int, a string) { defer wg.Done(); out[i] = words.Reverse(a) }(i, a)
	}
	wg.Wait()
	fmt.Println(out)
	text, err := exec.Command("/bin/echo", "child").Output()
	fmt.Printf("%q %v\n", text, err)
	fmt.Println(exec.Command("/bin/sh", "-c", "kill -9 $$").Run())
}
