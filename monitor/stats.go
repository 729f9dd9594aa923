package monitor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"kmdev/monitor/kvm"
)

// Stats says what a payload has cost: one line for people and benchmarks.
type Stats struct {
	Runs   uint64 // KVM_RUN calls, that is exits
	Ioctls uint64 // other vCPU ioctls
	VCPUs  int
	Early  int    // 1 if the VM was made beside the start of Go's runtime
	Faults uint64 // page faults that came out of the guest
	Floor  Floor  // if Options.Floor asked for it
}

// Stats reads the counters.
func (m *Machine) Stats() Stats {
	s := Stats{Faults: m.as.Stats().Faults, Floor: m.floor}
	s.Runs, s.Ioctls = kvm.Counters()
	s.Runs -= m.floor.runs
	m.mu.Lock()
	s.VCPUs = m.vcpus
	if m.vm.Early() {
		s.Early = 1
	}
	m.mu.Unlock()
	return s
}

func (s Stats) String() string {
	text := fmt.Sprintf("runs=%d ioctls=%d vcpus=%d faults=%d early=%d", s.Runs, s.Ioctls, s.VCPUs, s.Faults, s.Early)
	if s.Floor != (Floor{}) {
		text += fmt.Sprintf(" floor_hypercall_us=%.2f floor_touch_us=%.2f", s.Floor.Hypercall, s.Floor.Touch)
	}
	return text
}

// printStats is for --stats: the payload may have closed or replaced standard error, so the line goes to a descriptor kept
// from the start.
func (m *Machine) printStats() {
	if m.statsFD < 0 {
		return
	}
	line := []byte("kmdev: stats " + m.Stats().String() + "\n")
	unix.Write(m.statsFD, line)
}

// keepStats opens where --stats writes: standard error, or a file.
func (m *Machine) keepStats(to string) error {
	var fd int
	var err error
	switch to {
	case "":
		return nil
	case "-":
		fd, err = unix.FcntlInt(uintptr(os.Stderr.Fd()), unix.F_DUPFD_CLOEXEC, 0)
	default:
		fd, err = unix.Open(to, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o666)
	}
	if err != nil {
		return fmt.Errorf("--stats=%s: %w", to, err)
	}
	m.statsFD, err = m.fds.Keep(fd)
	return err
}
