// Package gdbserver is a GDB Remote Serial Protocol server over package target: for gdb, and for lldb by the same
// packets. Protocol: gdb manual, appendix "Remote Serial Protocol".
//
// A packet is a row of the table in packets.go: its name and the function that parses it strictly and serves it. What is
// not in the table gets the empty reply, what does not parse gets an error; nothing that a client sends ends the server.
package gdbserver
