package e2e

import (
	"strings"
	"testing"
)

// lookAround has a child that waits and looks at it, and at itself, with the programs that people use. What it prints
// holds no number of a run.
const lookAround = `
set -e
mkfifo fifo
cat fifo & child=$!
exec 9>fifo # cat has been executed: it has opened the other end
named() { sed "s/\b$child\b/CHILD/g; s/\b$$\b/SHELL/g" | sed 's/  */ /g'; }
echo "== ps"
ps -o pid=,ppid=,nlwp=,user=,ni=,comm=,args= -p $$,$child | named
ps -eo pid=,args= | grep -E "^ *($$|$child) " | named
echo "== ps -L"
ps -L -o pid=,tid=,comm= -p $child | named
echo "== sizes"
ps -o rss=,vsz= -p $child | awk '{ print ($1 > 200 && $1 < 8000) ? "small" : $1, ($2 > 1000 && $2 < 30000) ? "small" : $2 }'
echo "== ps e"
ps ewwp $child -o args= | tr ' ' '\n' | grep -E '^(cat|fifo|FIXTURE=)'
echo "== pgrep"
pgrep -a -P $$ -x cat | named
pgrep -f '^cat fifo$' | grep -w $child | named
pidof cat | tr ' ' '\n' | grep -w $child | named
echo "== lsof"
lsof -w -F ftn -p $child | grep -v '^p' | named | sed "s#n$PWD#nDIR#; s/pipe:\[[0-9]*\]/pipe/; s/[0-9]* pipe/pipe/; s/type=.*//"
echo "== files"
readlink /proc/$child/exe /proc/$child/cwd /proc/$$/exe | sed "s#$PWD#DIR#"
ls /proc/$child/fd /proc/$child/task | named
tr '\0' '\n' </proc/$child/cmdline
tr '\0' '\n' </proc/$child/environ | grep FIXTURE
echo "== top"
top -b -n 1 -p $child | tail -1 | awk '{ print $1, $NF }' | named
exec 9>&-
wait $child
`

// TestTools: ps, pgrep, pidof, lsof and top in a payload say the same as in a native shell.
func TestTools(t *testing.T) {
	run := func(run func(command, *testing.T) result) result {
		c := command{argv: []string{"/bin/bash", "-c", lookAround}, dir: t.TempDir(),
			env: []string{"PATH=/usr/bin:/bin:/usr/sbin", "FIXTURE=1", "LANG=C", "TERM=dumb", "HOME=/"}}
		return run(c, t)
	}
	native := run(func(c command, t *testing.T) result { return c.native(t) })
	if native.Status != "exit 0" || !strings.Contains(native.Stdout, "CHILD cat\n") {
		t.Fatalf("the script fails natively: %s\n%s%s", native.Status, native.Stdout, native.Stderr)
	}
	got := run(func(c command, t *testing.T) result { return c.underKmdev(t) })
	wantEqual(t, native, got)
}
