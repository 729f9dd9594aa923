package kmdev

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A rule forbids edges of the import graph.
type rule struct {
	from []string // patterns: "kmdev/monitor/..." is the package and all below
	not  []string
	// through: count what is imported indirectly too.
	through bool
	why     string
}

var (
	frontEnds = []string{"kmdev/gdbserver/...", "kmdev/dap/...", "kmdev/tui/..."}
	heavy     = []string{"debug/dwarf", "debug/elf", "net/http", "encoding/xml", "encoding/gob", "html/template", "text/template",
		"charm.land/...", "github.com/charmbracelet/...", "github.com/go-delve/..."}
)

var rules = []rule{
	{from: []string{"kmdev/monitor/..."}, not: append([]string{"kmdev/target/...", "kmdev/cmd/...", "kmdev/coredump/..."}, frontEnds...), through: true,
		why: "the VM knows nothing of the front ends: they reach it over the debug channel"},
	{from: frontEnds, not: []string{"kmdev/monitor/...", "kmdev/target/live", "kmdev/coredump/...", "kmdev/cmd/..."}, through: true,
		why: "a front end knows the target API and never a back end, so that it works on live VMs, cores and recordings"},
	{from: []string{"kmdev/target"}, not: []string{"kmdev/..."}, through: true,
		why: "target is types and interfaces: everything above and below it imports it"},
	{from: []string{"kmdev/target/..."}, not: append([]string{"kmdev/monitor/kvm", "kmdev/monitor/memory", "kmdev/monitor/guest", "kmdev/monitor/loader"}, frontEnds...), through: true,
		why: "a back end of target speaks to the monitor over monitor/debug; it is not part of it"},
	{from: []string{"kmdev/monitor/..."}, not: heavy, through: true,
		why: "the start-up of `kmdev run` pays for the package initialisation of all it links"},
	{from: []string{"kmdev/cmd/kmdev"}, not: []string{"net/http", "html/template", "charm.land/...", "github.com/charmbracelet/...", "runtime/cgo"}, through: true,
		why: "one small static binary; a front end that needs these belongs in a package that links them on demand"},
	{from: []string{"kmdev/monitor/...", "kmdev/target/...", "kmdev/gdbserver/...", "kmdev/cmd/..."}, not: []string{"kmdev/fixtures/...", "kmdev/e2e/...", "kmdev/bench/...", "testing"}, through: true,
		why: "the product does not depend on its tests"},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	CgoFiles   []string
}

func matches(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return pattern == path
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// violations returns a line for each forbidden edge.
func (r rule) violations(pkgs []pkg) []string {
	var lines []string
	for _, p := range pkgs {
		if !matchesAny(r.from, p.ImportPath) {
			continue
		}
		edges := p.Imports
		if r.through {
			edges = p.Deps
		}
		for _, to := range edges {
			if to != p.ImportPath && matchesAny(r.not, to) {
				lines = append(lines, fmt.Sprintf("%s imports %s (%s)", p.ImportPath, to, r.why))
			}
		}
	}
	return lines
}

// TestImports checks the module against the rules.
func TestImports(t *testing.T) {
	pkgs := list(t)
	for _, r := range rules {
		for _, v := range r.violations(pkgs) {
			t.Error(v)
		}
	}
}

// TestRulesBite gives each rule a graph with one forbidden edge per pattern: a
// rule that lets it pass checks nothing.
func TestRulesBite(t *testing.T) {
	example := func(pattern string) string { return strings.TrimSuffix(pattern, "/...") }
	for _, r := range rules {
		for _, from := range r.from {
			for _, to := range r.not {
				if example(from) == example(to) {
					continue
				}
				bad := []pkg{{ImportPath: example(from), Imports: []string{example(to)}, Deps: []string{"fmt", example(to)}}}
				if len(r.violations(bad)) != 1 {
					t.Errorf("rule %q lets %s import %s", r.why, from, to)
				}
			}
		}
		good := []pkg{{ImportPath: example(r.from[0]), Imports: []string{"fmt"}, Deps: []string{"fmt", "io"}}}
		if v := r.violations(good); v != nil {
			t.Errorf("rule %q objects to fmt: %v", r.why, v)
		}
	}
}

// TestNoCgo: no package of ours has a cgo file, even where cgo is on.
func TestNoCgo(t *testing.T) {
	for _, p := range list(t, "CGO_ENABLED=1") {
		if strings.HasPrefix(p.ImportPath, "kmdev") && len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo in %v: kmdev is one static binary", p.ImportPath, p.CgoFiles)
		}
	}
}

// TestArchitectureTable: the packages below monitor and what each may import
// are the table in ARCHITECTURE.md, no more.
func TestArchitectureTable(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	table := parseTable(string(text))
	if len(table) < 5 {
		t.Fatalf("found %d rows in ARCHITECTURE.md's table of packages", len(table))
	}
	for _, line := range tableViolations(table, list(t)) {
		t.Error(line)
	}
}

var tableRow = regexp.MustCompile("(?m)^\\| `(monitor/[a-z0-9/]+)` \\|.*\\| ([^|]*) \\|$")

// parseTable reads rows of the form "| `monitor/x` | what | a, b |".
func parseTable(text string) map[string][]string {
	table := map[string][]string{}
	for _, m := range tableRow.FindAllStringSubmatch(text, -1) {
		table["kmdev/"+m[1]] = regexp.MustCompile(`[a-z0-9]+`).FindAllString(m[2], -1)
	}
	return table
}

func tableViolations(table map[string][]string, pkgs []pkg) []string {
	var lines []string
	for _, p := range pkgs {
		if !strings.HasPrefix(p.ImportPath, "kmdev/monitor/") {
			continue
		}
		allowed, ok := table[p.ImportPath]
		if !ok {
			lines = append(lines, fmt.Sprintf("%s has no row in ARCHITECTURE.md's table", p.ImportPath))
			continue
		}
		for _, to := range p.Imports {
			name, below := strings.CutPrefix(to, "kmdev/monitor/")
			if to == "kmdev/monitor" || below && !slices.Contains(allowed, name) {
				lines = append(lines, fmt.Sprintf("%s imports %s; its row in ARCHITECTURE.md allows %v", p.ImportPath, to, allowed))
			}
		}
	}
	return lines
}

func TestArchitectureTableBites(t *testing.T) {
	table := parseTable("| `monitor/a` | what | b, c |\n| `monitor/b` | what | – |\n")
	for _, bad := range []pkg{
		{ImportPath: "kmdev/monitor/b", Imports: []string{"kmdev/monitor/c"}},
		{ImportPath: "kmdev/monitor/a", Imports: []string{"kmdev/monitor"}},
		{ImportPath: "kmdev/monitor/unlisted"},
	} {
		if len(tableViolations(table, []pkg{bad})) != 1 {
			t.Errorf("no complaint about %+v", bad)
		}
	}
	good := pkg{ImportPath: "kmdev/monitor/a", Imports: []string{"fmt", "kmdev/monitor/b", "kmdev/monitor/c"}}
	if v := tableViolations(table, []pkg{good}); v != nil {
		t.Error(v)
	}
}

// list runs `go list -deps -json ./...` and returns the packages of this module.
func list(t *testing.T, env ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps,CgoFiles", "./...")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	dec := json.NewDecoder(bufio.NewReader(out))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return pkgs
}
