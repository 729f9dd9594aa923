// Package target is what front ends (gdbserver, dap, tui) know of a payload: processes, threads, registers, memory,
// mappings, breakpoints and events. Back ends implement it: target/live for a running VM.
//
// Every back end is a Process, which can be inspected. One that can also be run is a Controller. Optional abilities
// that a back end has not got answer ErrUnsupported.
package target
