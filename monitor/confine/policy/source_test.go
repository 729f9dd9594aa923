package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ioctlNumbers are the constants of a Go file whose names begin with io, sorted.
func ioctlNumbers(t *testing.T, file string) []uint32 {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []uint32
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "io") || len(spec.Values) == 0 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			v, err := strconv.ParseUint(lit.Value, 0, 32)
			if err != nil {
				t.Fatalf("%s: %v", spec.Names[0].Name, err)
			}
			numbers = append(numbers, uint32(v))
		}
		return true
	})
	if len(numbers) < 10 {
		t.Fatalf("only %d requests in %s", len(numbers), file)
	}
	slices.Sort(numbers)
	return numbers
}
