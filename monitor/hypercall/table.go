package hypercall

// Max is the largest number that has a row.
const Max = 471

// groups lists all rows; Max, the numbers and the names are checked by
// TestTable.
var groups = [...][]Row{
	fileRows, dirRows, mountRows, netRows, muxRows, memoryRows, ipcRows, processRows, threadRows,
	signalRows, timeRows, schedRows, limitRows, securityRows, systemRows, obsoleteRows,
}

// byNr points to each row; nil where x86-64 Linux has no call.
var byNr [Max + 1]*Row

func init() {
	for _, g := range groups {
		for i := range g {
			byNr[g[i].Nr] = &g[i]
		}
	}
}

// Lookup returns the row of number nr, or nil if Linux has no such call. Linux
// looks at the low 32 bits of RAX only; so should the caller.
func Lookup(nr int) *Row {
	if uint(nr) <= Max {
		return byNr[nr]
	}
	return nil
}

// ByName returns the row of a call, or nil. It searches; not for hot paths.
func ByName(name string) *Row {
	for _, r := range byNr {
		if r != nil && r.Name == name {
			return r
		}
	}
	return nil
}

// Rows calls yield for each row in the order of the numbers, until it returns
// false.
func Rows(yield func(*Row) bool) {
	for _, r := range byNr {
		if r != nil && !yield(r) {
			return
		}
	}
}

// Handled returns the numbers of all rows that a function serves.
func Handled() []int {
	var nrs []int
	for nr, r := range byNr {
		if r != nil && r.Serve.How() == Handle {
			nrs = append(nrs, nr)
		}
	}
	return nrs
}
