package hypercall

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// numbers parses the numbers that x/sys knows for this architecture.
func numbers(t *testing.T) map[string]int {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatalf("go list -m golang.org/x/sys: %v", err)
	}
	name := filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_amd64.go")
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if call, isCall := strings.CutPrefix(spec.Names[0].Name, "SYS_"); ok && isCall {
			nr, err := strconv.Atoi(lit.Value)
			if err != nil {
				t.Fatalf("%s: %v", call, err)
			}
			found[strings.ToLower(call)] = nr
		}
		return true
	})
	return found
}

func TestTableHasEveryCall(t *testing.T) {
	want := numbers(t)
	if len(want) < 380 {
		t.Fatalf("only %d numbers in x/sys", len(want))
	}
	have := map[string]int{}
	for r := range Rows {
		have[r.Name] = r.Nr
	}
	for name, nr := range want {
		if got, ok := have[name]; !ok || got != nr {
			t.Errorf("%s: row has number %d (%v), x/sys has %d", name, got, ok, nr)
		}
	}
	for name, nr := range have {
		if _, ok := want[name]; !ok {
			t.Errorf("row %d %s: no such call in x/sys", nr, name)
		}
	}
}

func TestTable(t *testing.T) {
	seen := map[int]string{}
	for _, g := range groups {
		last := -1
		for _, r := range g {
			if r.Nr <= last {
				t.Errorf("%s: not in the order of numbers", r.Name)
			}
			last = r.Nr
			if other, dup := seen[r.Nr]; dup {
				t.Errorf("%d: rows %s and %s", r.Nr, other, r.Name)
			}
			seen[r.Nr] = r.Name
			if r.Nr > Max {
				t.Errorf("%s: number %d above Max", r.Name, r.Nr)
			}
			checkRow(t, &r)
		}
	}
	if seen[Max] == "" {
		t.Errorf("Max is %d, which has no row", Max)
	}
	if len(structs) != int(tUserDesc>>structShift&structMask)+1 {
		t.Errorf("%d structures for %d constants", len(structs), tUserDesc>>structShift&structMask+1)
	}
	if len(setNames) != int(sMq>>setShift)+1 {
		t.Errorf("%d set names for %d constants", len(setNames), sMq>>setShift+1)
	}
}

func checkRow(t *testing.T, r *Row) {
	t.Helper()
	switch r.How() {
	case Refuse:
		if r.Errno() == 0 || r.Note == "" || r.Serve.Sleeping() {
			t.Errorf("%s: refused with errno %d and reason %q", r.Name, r.Errno(), r.Note)
		}
	case Pass, Handle:
		if r.Errno() != 0 {
			t.Errorf("%s: has errno %v but is not refused", r.Name, r.Errno())
		}
	default:
		t.Errorf("%s: served by %d", r.Name, r.How())
	}
	names := map[string]bool{}
	for i, a := range r.Args {
		checkArg(t, r, i, a)
		if names[a.Name] || a.Name == "" {
			t.Errorf("%s: argument name %q", r.Name, a.Name)
		}
		names[a.Name] = true
	}
	if len(r.Args) > 6 {
		t.Errorf("%s: %d arguments", r.Name, len(r.Args))
	}
}

func checkArg(t *testing.T, r *Row, i int, a Arg) {
	t.Helper()
	ty := a.Type
	if by := ty.By(); by >= len(r.Args) || by == i {
		t.Errorf("%s %s: counted by argument %d", r.Name, a.Name, by)
	}
	counted := map[Type]bool{IOVec: true, SigSet: true, FDSet: true, Sockaddr: true, Mmsghdr: true}
	if counted[ty.Kind()] && ty.By() < 0 {
		t.Errorf("%s %s: nothing counts it", r.Name, a.Name)
	}
	directed := map[Type]bool{Ptr: true, IOVec: true, SigSet: true, FDSet: true, Sockaddr: true, Msghdr: true, Mmsghdr: true, StrArray: true}
	if directed[ty.Kind()] != (ty&InOut != 0) {
		t.Errorf("%s %s: direction does not fit the kind", r.Name, a.Name)
	}
	if (ty.Kind() == Flags || ty.Kind() == Enum) != (ty.Set() != "") {
		t.Errorf("%s %s: set %q does not fit the kind", r.Name, a.Name, ty.Set())
	}
	if ty&Clip != 0 && (!ty.Writes() || ty.By() < 0 || r.Args[ty.By()].Type.Pointer()) {
		t.Errorf("%s %s: can not be clipped", r.Name, a.Name)
	}
	if r.How() != Pass {
		return
	}
	switch ty.Kind() {
	case Any, Msghdr, Mmsghdr, StrArray:
		t.Errorf("%s %s: the engine can not translate it", r.Name, a.Name)
	}
}

func TestLookup(t *testing.T) {
	if r := Lookup(0); r == nil || r.Name != "read" {
		t.Errorf("Lookup(0) = %v", r)
	}
	for _, nr := range []int{-1, 337, 423, Max + 1, 1 << 20} {
		if r := Lookup(nr); r != nil {
			t.Errorf("Lookup(%d) = %s", nr, r.Name)
		}
	}
	if r := ByName("rseq"); r == nil || r.Nr != 334 {
		t.Errorf("ByName(rseq) = %v", r)
	}
	if ByName("no such call") != nil {
		t.Error("ByName found a call that is not there")
	}
	handled := Handled()
	if len(handled) == 0 {
		t.Fatal("no row is marked Handle")
	}
	for _, nr := range handled {
		if Lookup(nr).How() != Handle {
			t.Errorf("Handled has %s", Lookup(nr).Name)
		}
	}
}
