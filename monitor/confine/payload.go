package confine

import "sync/atomic"

// The payload's own no_new_privs, where the host's is the monitor's. It is the process's; Linux has one for each thread.
var payloadNoNewPrivs atomic.Bool

// PayloadSetsNoNewPrivs is told that the payload has set no_new_privs.
func PayloadSetsNoNewPrivs() { payloadNoNewPrivs.Store(true) }

// PayloadNoNewPrivs is the payload's no_new_privs; host is what the kernel says of the thread.
func PayloadNoNewPrivs(host bool) bool {
	return host && (!forced.Load() || payloadNoNewPrivs.Load())
}
