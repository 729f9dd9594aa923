package target

// Usage is a mapping with the memory it takes, as /proc/PID/smaps tells (proc_pid_smaps(5)).
type Usage struct {
	Mapping
	KB map[string]uint64 // "Rss", "Anonymous" … in kB
}

// UsageReporter is a Process that knows its mappings' memory.
type UsageReporter interface {
	Usage() ([]Usage, error)
}
