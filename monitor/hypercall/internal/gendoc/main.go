// Command gendoc writes the table of system calls to the file named by its
// argument.
package main

import (
	"bytes"
	"log"
	"os"

	"kmdev/monitor/hypercall"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gendoc FILE")
	}
	var b bytes.Buffer
	if err := hypercall.WriteTable(&b, hypercall.Markdown); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
