package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"kmdev/fixtures"
)

// TestHypercallPath counts what a hypercall costs: one KVM_RUN and no other vCPU ioctl.
func TestHypercallPath(t *testing.T) {
	bench := fixtures.Build(t, "bench", fixtures.GlibcStatic)
	cost := func(rounds int) (runs, ioctls int) {
		file := filepath.Join(t.TempDir(), "stats")
		c := command{argv: []string{bench, "getppid", strconv.Itoa(rounds)}}
		if r := c.underKmdev(t, "--stats", file); r.Status != "exit 0" {
			t.Fatalf("%d rounds: %+v", rounds, r)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return counter(t, string(text), "runs"), counter(t, string(text), "ioctls")
	}
	const few, many = 100, 2100
	runs1, ioctls1 := cost(few)
	runs2, ioctls2 := cost(many)
	if ioctls1 != ioctls2 {
		t.Errorf("%d hypercalls more cost %d vCPU ioctls more", many-few, ioctls2-ioctls1)
	}
	// A signal of the host's (the scheduler's, a debugger's) may end a KVM_RUN now and then; never one in a hundred.
	if more := runs2 - runs1; more < many-few || more > (many-few)*101/100 {
		t.Errorf("%d hypercalls more cost %d KVM_RUN more", many-few, more)
	}
}

// counter reads name=N out of the line of kmdev run --stats.
func counter(t *testing.T, line, name string) int {
	t.Helper()
	for _, word := range strings.Fields(line) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %q", name, line)
	return 0
}
