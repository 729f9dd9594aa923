package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"kmdev/fixtures"
)

// memory reports the peak private memory of the whole process, payload included, for a hello that waits to be looked at.
func (b *bench) memory() error {
	pause, err := fixtures.Compile("bench_pause", fixtures.GlibcStatic)
	if err != nil {
		return err
	}
	kb, err := private(exec.Command(b.kmdev, "run", "--log-level=error", pause))
	if err != nil {
		return err
	}
	const limit = 12 << 10
	b.row("private memory, hello", kb, "goal", limit, "KiB", 1, "")
	return nil
}

// heapMemory compares what a program holds that touches every page of its heap, or a part of it, with native.
func (b *bench) heapMemory() error {
	pause, err := fixtures.Compile("bench_pause", fixtures.GlibcStatic)
	if err != nil {
		return err
	}
	for _, how := range []string{"heap", "grown", "sparse"} {
		const pages = "8000"
		ours, err := private(exec.Command(b.kmdev, "run", "--log-level=error", pause, how, pages))
		if err != nil {
			return err
		}
		base, err := private(exec.Command(b.kmdev, "run", "--log-level=error", pause))
		if err != nil {
			return err
		}
		theirs, err := private(exec.Command(pause, how, pages))
		if err != nil {
			return err
		}
		b.row("memory held, "+how, ours-base, "native", theirs, "KiB", 2, "")
	}
	return nil
}

// private runs cmd until it says that it is ready, and reads its private memory in KiB.
func private(cmd *exec.Cmd) (float64, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := quiet(cmd).Start(); err != nil {
		return 0, err
	}
	watchdog := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return 0, fmt.Errorf("%v did not get ready: %w", cmd.Args, err)
	}
	kb, err := privateOf(cmd.Process.Pid)
	stdin.Close()
	if e := cmd.Wait(); err == nil {
		err = e
	}
	return kb, err
}

func privateOf(pid int) (kb float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && strings.HasPrefix(f[0], "Private_") {
			n, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return 0, err
			}
			kb += n
		}
	}
	return kb, nil
}
