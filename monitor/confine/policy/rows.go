package policy

import "kmdev/monitor/hypercall"

// within are the rows whose handlers never make the call of that name on the host. Others may be made by a handler, with the
// arguments that it has checked.
var within = map[string]string{
	"fork":            "the monitor's own clone",
	"vfork":           "the monitor's own clone",
	"personality":     "READ_IMPLIES_EXEC would make the monitor's memory executable",
	"ptrace":          "refused: it would reach other monitors",
	"modify_ldt":      "refused",
	"rseq":            "kept by the monitor: the host's would write to its own addresses",
	"get_robust_list": "kept by the monitor",
	"set_robust_list": "kept by the monitor",
	"pkey_mprotect":   "mprotect",
	"process_madvise": "madvise, of the payload's own memory",
	"mlockall":        "would lock the monitor's memory",
	"munlockall":      "would unlock the monitor's memory",
	"mseal":           "kept by the monitor: the host could never take a mapping back",
	"shmdt":           "the mapping is replaced",
	"rt_sigsuspend":   "pause, in the blocking stub",
}

// fromTable tells whether a row's call reaches the host.
func fromTable(r *hypercall.Row) bool {
	switch r.How() {
	case hypercall.Pass:
		return true
	case hypercall.Handle:
		return within[r.Name] == ""
	}
	return false
}
