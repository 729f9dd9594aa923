// Package debug is the monitor's private debug channel: one end of a unix stream socket pair, handed to the monitor by
// the supervisor that started it (or by kmdev attach). It holds the messages, the client half (Client, used by
// target/live) and the server half (Serve), which runs inside the monitor over an Inferior.
//
// The division of labour: the monitor implements Inferior, which knows single threads only: park, resume, step, report.
// The server half makes all-stop of it (session.go): the first stop parks every thread, stops that other threads run
// into meanwhile are kept and reported later, and none is lost.
package debug
