package monitor

import (
	"sync"

	"golang.org/x/sys/unix"
)

// limits are the resource limits that the host can't keep for the payload: it would count the monitor's memory too. The
// payload's are counted by package memory; the monitor's own stay as wide as the hard limit it was started with allows.
type limits struct {
	mu  sync.Mutex
	own [resources]unix.Rlimit // of ownLimits, what the payload has
}

// resources is how many there are (RLIM_NLIMITS).
const resources = 16

// ownLimits are they; RLIMIT_NOFILE is fdTable's. All others are the host's: it counts per user what it would count for a
// native process plus the monitor's threads (RLIMIT_NPROC), or what only the payload has (RLIMIT_STACK, RLIMIT_MEMLOCK).
var ownLimits = [...]int{unix.RLIMIT_AS, unix.RLIMIT_DATA}

// init takes the payload's limits from the host's, which it widens.
func (l *limits) init() {
	for _, resource := range ownLimits {
		var r unix.Rlimit
		if unix.Prlimit(0, resource, nil, &r) != nil {
			r = unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
		}
		l.own[resource] = r
		if r.Cur != r.Max {
			prlimit(resource, &unix.Rlimit{Cur: r.Max, Max: r.Max}) // always allowed
		}
	}
}

// keeps tells whether a limit is the monitor's to keep.
func (l *limits) keeps(resource int) bool {
	return resource == unix.RLIMIT_AS || resource == unix.RLIMIT_DATA
}

func (l *limits) get(resource int) unix.Rlimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.own[resource]
}

// set is setrlimit(2), whose rules have been applied.
func (l *limits) set(resource int, r unix.Rlimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own[resource] = r
}

// list gives the limits in ownLimits' order, for adopt in the next monitor.
func (l *limits) list() (list [len(ownLimits)]unix.Rlimit) {
	for i, resource := range ownLimits {
		list[i] = l.get(resource)
	}
	return list
}

// adopt takes over the limits of the monitor before: the host's are wide already. Before the payload runs.
func (l *limits) adopt(list [len(ownLimits)]unix.Rlimit) {
	for i, resource := range ownLimits {
		l.own[resource] = list[i]
	}
}

// soft is memory.Config.Limit.
func (l *limits) soft(resource int) uint64 {
	if l.keeps(resource) {
		return l.get(resource).Cur
	}
	var r unix.Rlimit
	if unix.Prlimit(0, resource, nil, &r) != nil {
		return unix.RLIM_INFINITY
	}
	return r.Cur
}

// Rlimit and SetRlimit are the payload's view of the limits that are not the host's.
func (m *Machine) Rlimit(resource int) (unix.Rlimit, bool) {
	switch {
	case resource == unix.RLIMIT_NOFILE:
		return m.fds.Limit(), true
	case m.limits.keeps(resource):
		return m.limits.get(resource), true
	}
	return unix.Rlimit{}, false
}

func (m *Machine) SetRlimit(resource int, l unix.Rlimit) unix.Errno {
	defer m.publish()
	switch {
	case resource == unix.RLIMIT_NOFILE:
		return m.fds.SetLimit(l)
	case m.limits.keeps(resource):
		m.limits.set(resource, l)
		return 0
	}
	return unix.EINVAL
}

// Rlimits are all the payload's limits that are not the host's.
func (m *Machine) Rlimits() map[int]unix.Rlimit {
	all := map[int]unix.Rlimit{unix.RLIMIT_NOFILE: m.fds.Limit()}
	for _, resource := range ownLimits {
		all[resource] = m.limits.get(resource)
	}
	return all
}
