// Package live is the back end for a running VM: a target.Controller over the monitor's debug channel, with the
// payload's memory accessed directly. Start runs a monitor as a child of this process, the supervisor; Supervise makes
// the supervisor transparent for signals, job control and exit status.
package live
