package e2e

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// The payload's part of a monitor's address space: monitor/usermem.Window, which this package may not import.
const (
	windowStart = 0x1000_0000_0000
	windowEnd   = 0x7000_0000_0000
)

// summary is what a tree of processes holds.
type summary struct{ processes, pss int } // pss in KiB

// sample is what a process holds: the monitor's own memory (outside of the window), all of it, and descriptors.
type sample struct{ round, own, rss, fds int } // in KiB

// series are the samples of each process.
type series struct {
	round     int
	processes map[string][]sample // by load, pid and start time
}

func newSeries() *series { return &series{processes: map[string][]sample{}} }

// sample looks at a process and all its descendants.
func (s *series) sample(load string, root int) summary {
	var sum summary
	for _, pid := range descendants(root) {
		starttime, name := birth(pid)
		own, rss, pss, err := holds(pid)
		fds, e := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if again, _ := birth(pid); err != nil || e != nil || starttime == "" || again != starttime {
			continue // it has ended meanwhile
		}
		sum.processes++
		sum.pss += pss
		key := fmt.Sprintf("%s %s %d %s", load, name, pid, starttime)
		s.processes[key] = append(s.processes[key], sample{s.round, own, rss, len(fds)})
	}
	return sum
}

// descendants lists a process and its descendants.
func descendants(root int) []int {
	list := []int{root}
	for i := 0; i < len(list); i++ {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", list[i]))
		for _, task := range tasks {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", list[i], task.Name()))
			for _, word := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					list = append(list, pid)
				}
			}
		}
	}
	return list
}

// birth is a process's start time, which with the pid names it for good, and its name.
func birth(pid int) (starttime, name string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	open, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
	f := strings.Fields(string(text[end+1:]))
	return f[19], string(text[open+1 : end])
}

// holds reads smaps, in KiB.
func holds(pid int) (own, rss, pss int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil || len(text) == 0 {
		return 0, 0, 0, fmt.Errorf("process %d: no memory: %v", pid, err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, " ")
		if from, _, ok := strings.Cut(name, "-"); ok {
			at, err := strconv.ParseUint(from, 16, 64)
			if err != nil {
				return 0, 0, 0, err
			}
			inside = at >= windowStart && at < windowEnd
			continue
		}
		if name != "Rss:" && name != "Pss:" {
			continue
		}
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		switch {
		case err != nil:
			return 0, 0, 0, err
		case name == "Pss:":
			pss += kb
		default:
			rss += kb
			if !inside {
				own += kb
			}
		}
	}
	return own, rss, pss, nil
}

// growth is how much more the last third of the time may show than the middle one: what a heap of Go's does between two
// collections, a table that doubles.
const (
	growthPercent = 5
	growthKiB     = 1024
	growthFDs     = 2
)

// verdict compares the last third with the middle one, for all processes that have lived through both.
func (s *series) verdict(t *testing.T) {
	t.Helper()
	keys := make([]string, 0, len(s.processes))
	lived := 0
	for key := range s.processes {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		list := s.processes[key]
		middle := between(list, s.round/3, s.round*2/3)
		last := between(list, s.round*2/3, s.round)
		if len(middle) < s.round/3 || len(last) < s.round/3 {
			continue
		}
		lived++
		m, l := most(middle), most(last)
		t.Logf("%-40s own memory %d → %d KiB, all %d → %d KiB, descriptors %d → %d", key, m.own, l.own, m.rss, l.rss, m.fds, l.fds)
		if l.own > m.own+m.own*growthPercent/100+growthKiB {
			t.Errorf("%s: the monitor's memory grows: %d KiB in the middle third, %d in the last", key, m.own, l.own)
		}
		if l.fds > m.fds+growthFDs {
			t.Errorf("%s: descriptors grow: %d in the middle third, %d in the last", key, m.fds, l.fds)
		}
		// A stressor's own memory goes up and down by design.
		if !strings.HasPrefix(key, "stress-ng") && l.rss > m.rss+m.rss*growthPercent/100+growthKiB {
			t.Errorf("%s: memory grows: %d KiB in the middle third, %d in the last", key, m.rss, l.rss)
		}
	}
	t.Logf("%d processes seen, %d of them throughout", len(keys), lived)
	if lived < 3+2 { // redis, the shell, stress-ng and some of its stressors
		t.Errorf("only %d processes have lived throughout", lived)
	}
}

func between(list []sample, from, to int) []sample {
	return slices.DeleteFunc(slices.Clone(list), func(s sample) bool { return s.round < from || s.round >= to })
}

// most is the greatest of each.
func most(list []sample) (m sample) {
	for _, s := range list {
		m.own, m.rss, m.fds = max(m.own, s.own), max(m.rss, s.rss), max(m.fds, s.fds)
	}
	return m
}
