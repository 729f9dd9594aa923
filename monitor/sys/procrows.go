package sys

import "golang.org/x/sys/unix"

// procKind says what a payload gets of an entry in /proc/PID, its own or a relative's.
type procKind uint8

const (
	procPass    procKind = 1 + iota // the host's
	procText                        // the host's text with the payload's facts: Process.ProcFile
	procWindow                      // reads and writes are moved into the window: windowFiles
	procListing                     // a directory in which what is the monitor's is left out
	procLink                        // a magic link, followed here
	procRefused                     // errno
)

// procRow judges an entry of /proc/PID or /proc/PID/task/TID.
type procRow struct {
	name  string
	kind  procKind
	errno unix.Errno // of procRefused
	why   string
}

// procRows has every entry that Linux 6.18 has; one that is not here is refused, for what it shows is not known. A test
// compares it with the host's /proc/self.
var procRows = []procRow{
	{"arch_status", procPass, 0, "AVX-512 use of the host thread, which is the payload's"},
	{"attr", procPass, 0, "security labels: credentials are the host's"},
	{"autogroup", procPass, 0, "the session's, which the payload shares"},
	{"auxv", procText, 0, "the kernel's own vector is the monitor's where PR_SET_MM is not permitted"},
	{"cgroup", procPass, 0, "the process's"},
	{"children", procPass, 0, "payloads fork from the vCPU thread: its children are the payload thread's"},
	{"clear_refs", procPass, 0, "marks of use and the peak only"},
	{"cmdline", procText, 0, "likewise auxv"},
	{"comm", procPass, 0, "a vCPU thread has the payload thread's name"},
	{"coredump_filter", procPass, 0, "inherited setting, no effect on payload memory's contents"},
	{"cpu_resctrl_groups", procPass, 0, "the process's"},
	{"cpuset", procPass, 0, "the process's"},
	{"cwd", procLink, 0, "the process's own; the payload's chdir is the host's"},
	{"environ", procText, 0, "likewise auxv"},
	{"exe", procLink, 0, "the host's is kmdev: the payload's file by the monitor's descriptor of it"},
	{"fd", procListing, 0, "numbers are the host's; the monitor's are above the bound"},
	{"fdinfo", procListing, 0, "as fd"},
	{"gid_map", procPass, 0, "of the user namespace"},
	{"io", procPass, 0, "counts the monitor's own few reads too"},
	{"ipaddr", procPass, 0, "SELinux"},
	{"ksm_merging_pages", procPass, 0, "only payload memory is ever mergeable"},
	{"ksm_stat", procPass, 0, "only payload memory is ever mergeable"},
	{"latency", procPass, 0, "of host threads"},
	{"limits", procText, 0, "some of the host's own are wider, for the monitor"},
	{"loginuid", procPass, 0, "credentials are the host's"},
	{"make-it-fail", procPass, 0, "fault injection; needs a privilege"},
	{"fail-nth", procPass, 0, "fault injection; needs a privilege"},
	{"map_files", procRefused, unix.EACCES, "names and leads to the monitor's mappings; Linux asks for CAP_CHECKPOINT_RESTORE"},
	{"maps", procText, 0, "from the payload's VMA list"},
	{"mem", procWindow, 0, "host memory at the payload's addresses in the window"},
	{"mountinfo", procPass, 0, "of the mount namespace"},
	{"mounts", procPass, 0, "of the mount namespace"},
	{"mountstats", procPass, 0, "of the mount namespace"},
	{"net", procPass, 0, "of the network namespace"},
	{"ns", procPass, 0, "the process's namespaces are the payload's"},
	{"numa_maps", procText, 0, "host lines of the window"},
	{"oom_adj", procPass, 0, "the process's: when it is killed, the payload is"},
	{"oom_score", procPass, 0, "as oom_adj"},
	{"oom_score_adj", procPass, 0, "as oom_adj"},
	{"pagemap", procWindow, 0, "host pages of the window; Linux hides frame numbers without CAP_SYS_ADMIN"},
	{"patch_state", procPass, 0, "live patching of the host kernel"},
	{"personality", procText, 0, "ADDR_NO_RANDOMIZE is the monitor's to serve"},
	{"projid_map", procPass, 0, "of the user namespace"},
	{"reclaim", procRefused, unix.EACCES, "out-of-tree kernels: would page the monitor out"},
	{"root", procLink, 0, "the process's own"},
	{"sched", procPass, 0, "of the host thread, which is the payload's"},
	{"schedstat", procPass, 0, "of the host thread, which is the payload's"},
	{"seccomp_cache", procRefused, unix.EACCES, "the monitor's filter; needs CAP_SYS_ADMIN on Linux"},
	{"sessionid", procPass, 0, "credentials are the host's"},
	{"setgroups", procPass, 0, "of the user namespace"},
	{"smaps", procText, 0, "host blocks of the window"},
	{"smaps_rollup", procText, 0, "the host's less the monitor's blocks"},
	{"stack", procRefused, unix.EACCES, "host kernel functions of KVM_RUN; needs CAP_SYS_ADMIN on Linux"},
	{"stack_depth", procPass, 0, "debugging kernels"},
	{"stat", procText, 0, "memory, addresses, threads and signals are the payload's"},
	{"statm", procText, 0, "the payload's memory"},
	{"status", procText, 0, "memory, threads, signals and seccomp are the payload's"},
	{"syscall", procText, 0, "the host thread is in the monitor: it says running, as of a thread on a CPU"},
	{"task", procListing, 0, "payload threads; the monitor's own are no entries"},
	{"timens_offsets", procPass, 0, "of the time namespace"},
	{"timers", procPass, 0, "POSIX timers are the host's"},
	{"timerslack_ns", procPass, 0, "the host thread's"},
	{"uid_map", procPass, 0, "of the user namespace"},
	{"unwind", procRefused, unix.EACCES, "out-of-tree kernels: the monitor's stack"},
	{"wchan", procText, 0, "host kernel functions: it says 0, as of a thread that is running or may not be seen"},
}

// kindOf is a row's kind; what is not in the table is refused.
func kindOf(name string) (procKind, unix.Errno) {
	for i := range procRows {
		if r := &procRows[i]; r.name == name {
			return r.kind, r.errno
		}
	}
	return procRefused, unix.EACCES
}

// ProcTexts are the names of files that Process.ProcFile must know.
func ProcTexts() []string {
	var names []string
	for _, r := range procRows {
		if r.kind == procText {
			names = append(names, r.name)
		}
	}
	return names
}
