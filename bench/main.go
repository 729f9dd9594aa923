// Bench prints what kmdev costs: for each operation the ratio to a native run of the same program, or to the bare KVM that
// kmdev measures in its own process, with the goal that the project has set. Runs alternate, and the best of each side counts:
// what a busy machine adds is left out.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"kmdev/fixtures"
)

func main() {
	runs := flag.Int("runs", 5, "how often each side runs")
	only := flag.String("only", "", "measure only operations whose name contains this")
	kmdev := flag.String("kmdev", "bin/kmdev", "the binary to measure")
	flag.Parse()
	b := &bench{runs: *runs, only: *only, kmdev: *kmdev}
	if err := b.all(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	runs   int
	only   string
	kmdev  string
	binary string
	out    *tabwriter.Writer
}

func (b *bench) all() (err error) {
	if b.binary, err = fixtures.Compile("bench", fixtures.GlibcStatic); err != nil {
		return err
	}
	b.out = tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(b.out, "operation\tkmdev\tagainst\t\tratio\tgoal\t\texits\t")
	for _, o := range operations {
		if !strings.Contains(o.name, b.only) {
			continue
		}
		if err := b.operation(o); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		b.out.Flush()
	}
	sections := []func() error{b.startup, b.memory, b.heapMemory, b.processes}
	if b.only != "" {
		sections = []func() error{b.processes}
	}
	for _, f := range sections {
		if err := f(); err != nil {
			return err
		}
		b.out.Flush()
	}
	return nil
}

// row prints one line; goal 0 means that the ratio is only reported.
func (b *bench) row(name string, ours float64, against string, theirs float64, unit string, goal float64, exits string) {
	ratio := ours / theirs
	target, verdict := "", ""
	if goal > 0 {
		target, verdict = fmt.Sprintf("≤ %.2f", goal), "ok"
		if ratio > goal {
			verdict = "MISSED"
		}
	}
	fmt.Fprintf(b.out, "%s\t%.4g %s\t%s\t%.4g %s\t%.3f\t%s\t%s\t%s\t\n", name, ours, unit, against, theirs, unit, ratio, target, verdict, exits)
}

func best(v []float64) float64 { return slices.Min(v) }
