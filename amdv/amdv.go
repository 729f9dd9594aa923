// Package amdv tests kmdev on AMD-V, as QEMU emulates it: a Debian kernel boots
// with an initramfs of kmdev, payloads and a small init, which runs each case
// natively and under kmdev and sends the results back over a serial line.
//
// The host of the tests may have another kind of virtualisation (or a KVM
// without any, PVM), so this is where SYSCALL entering CPL 0, nested paging and
// the hardware's exception path are exercised.
package amdv

// Case is something for init to do in the emulated machine.
type Case struct {
	Name string
	// Argv is the payload, run natively first and then under kmdev.
	Argv []string
	// Tool, if set, is run once and as it is, instead of a payload (kmdev doctor, a probe).
	Tool []string
	// Debug, if set, is a conversation with `kmdev run -g0` over the payload.
	Debug *Debug
	// Seconds bounds each run.
	Seconds int
}

// Debug names the places of a payload that the debugging conversation visits.
type Debug struct {
	Breakpoint uint64 // address of a function that is called
	Again      uint64 // one that is called later
	Variable   uint64 // address of an int to read and write
	Value      uint32 // its value at Breakpoint
}

// Result is what init sends for a Case: one line of JSON.
type Result struct {
	Name          string
	Native, Kmdev Run
	Transcript    []string // of the debugging conversation
	Error         string   // of the rig or the conversation
}

// Run is a finished program.
type Run struct {
	Stdout, Stderr string
	Status         string // "exit 0", "signal 11", "timeout"
	Milliseconds   int64
}

// Paths in the initramfs.
const (
	CasesFile  = "/cases.json"
	KmdevFile  = "/bin/kmdev"
	ResultPort = "/dev/ttyS1"
	Done       = "DONE" // the last line sent
)
