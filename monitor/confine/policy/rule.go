// Package policy says which system calls a monitor may make, and compiles that into the filter that package confine
// installs. It takes part in `go generate` and in tests only: nothing that kmdev links imports it.
//
// A call is allowed if its row of the hypercall table is passed to the host or served with the same call (rows.go says where
// not), or if the monitor or Go's runtime needs it for itself (own.go). For a few the arguments count as well (limits.go).
// Everything else ends the process: a monitor that makes a call which nothing in it makes is not itself any more.
package policy

import (
	"fmt"
	"slices"

	"kmdev/monitor/hypercall"
)

// Test looks at the low 32 bits of one argument, which are all that the kernel looks at, or hold all bits that count. It
// passes if argument & Mask is one of Values, or with Not if it is none.
type Test struct {
	Arg    int
	Mask   uint32
	Not    bool
	Values []uint32
}

func (t *Test) passes(args *[6]uint64) bool {
	return slices.Contains(t.Values, uint32(args[t.Arg])&t.Mask) != t.Not
}

// Rule is what is allowed of one call: all of it if Any is empty, else what passes one of the tests.
type Rule struct {
	Nr  int
	Any []Test
}

// Allows is what the rule says of arguments.
func (r *Rule) Allows(args *[6]uint64) bool {
	return len(r.Any) == 0 || slices.ContainsFunc(r.Any, func(t Test) bool { return t.passes(args) })
}

// Rules are the allowed calls in the order of their numbers.
func Rules() []Rule {
	limited := map[string][]Test{}
	for _, l := range limits() {
		limited[l.call] = l.any
	}
	var rules []Rule
	for r := range hypercall.Rows {
		if fromTable(r) || own[r.Name] != "" {
			rules = append(rules, Rule{r.Nr, limited[r.Name]})
			delete(limited, r.Name)
		}
	}
	for call := range limited {
		panic(fmt.Sprintf("policy: the arguments of %s are limited, but it is not allowed at all", call))
	}
	return rules
}
