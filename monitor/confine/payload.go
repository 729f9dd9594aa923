package confine

import "sync/atomic"

// The payload's own no_new_privs, where the host's is the monitor's. It is the process's; Linux has one for each thread.
var payloadNoNewPrivs atomic.Bool

// PayloadSetsNoNewPrivs is told that the payload has set no_new_privs.
func PayloadSetsNoNewPrivs() { payloadNoNewPrivs.Store(true) }

// NoNewPrivs is what the next monitor of the process or of its child has to know: whether no_new_privs is the filter's, and
// whether the payload has set it too.
func NoNewPrivs() (filters, payloads bool) { return forced.Load(), payloadNoNewPrivs.Load() }

// InheritNoNewPrivs takes over what NoNewPrivs gave in the monitor before.
func InheritNoNewPrivs(filters, payloads bool) {
	forced.Store(filters)
	payloadNoNewPrivs.Store(payloads)
}

// PayloadNoNewPrivs is the payload's no_new_privs; host is what the kernel says of the thread.
func PayloadNoNewPrivs(host bool) bool {
	return host && (!forced.Load() || payloadNoNewPrivs.Load())
}
