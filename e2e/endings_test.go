package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kmdev/fixtures"
)

// ending is a way in which a machine or a neighbour lets a program down. The end must be native's, and nothing may be left behind.
type ending struct {
	name   string
	script string // bash; $SCALE is the fixture, $DIR a directory
	erase  string // a regular expression of what differs natively too
}

// bashNotice is how bash begins its word on a child that a signal ended: with its pid, padded.
const bashNotice = `bash: line \d+: *\d+ `

var endings = []ending{
	{name: "a child killed", script: `
		sleep 100 & a=$!; sleep 100 & b=$!; (sleep 100 & echo $! >grandchild; exec sleep 100) & c=$!
		until [ -s grandchild ]; do :; done; read g <grandchild
		kill -9 $a; wait $a; echo "killed $?"; kill -0 $b && echo "sibling lives"
		kill -9 $c; wait $c; echo "parent killed $?"; kill -0 $g && echo "grandchild lives"; kill $g
		(sh -c 'kill -9 $PPID'; :) & wait $!; echo "by its child $?"
		kill $b; wait $b; echo "sibling $?"`, erase: bashNotice},
	{name: "descriptors run out", script: `
		ulimit -n 16
		python3 -c '
import os, subprocess
n = 0
try:
    while True: os.dup(0); n += 1
except OSError as e: print(n > 5, e.errno)
for f in (os.pipe, lambda: open("/etc/passwd"), lambda: subprocess.run(["true"])):
    try: f(); print("no error")
    except OSError as e: print(e.errno)
print(os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "exit 3"]))
pid = os.fork()
if pid == 0: os._exit(4)
print(os.waitpid(pid, 0)[1] >> 8)'
		echo $?; echo x | cat; ulimit -n 6; echo y | cat; ulimit -n 3; echo z | cat; echo $?`},
	{name: "address space runs out", script: `
		ulimit -v 400000
		python3 -c '
import subprocess, threading
try: x = bytearray(1 << 30); print("no error")
except MemoryError: print("MemoryError")
print(subprocess.run(["sh", "-c", "echo child"], stdout=-1).stdout)
keep = []
try:
    while True: keep.append(bytearray(1 << 24))
except MemoryError: keep = keep[:2]; print("MemoryError again")
print(subprocess.run(["sh", "-c", "echo child"], stdout=-1).stdout)'
		echo $?; perl -e '$x = "x" x (1 << 29); print length $x, "\n"' 2>/dev/null; echo "perl $?"
		ulimit -v 20000; python3 -c 0 2>/dev/null; echo "tiny $?"; /bin/true; echo $?`},
	{name: "file size limit", script: `ulimit -f 4; head -c 100000 /dev/zero >big; echo $?; ls -l big | cut -d ' ' -f 5
		(trap '' XFSZ; head -c 100000 /dev/zero >big2; echo $?) 2>&1`, erase: bashNotice},
	{name: "CPU time limit", script: `(ulimit -t 1; while :; do :; done); echo $?; sh -c 'ulimit -t 1; exec yes' >/dev/null; echo $?`,
		erase: bashNotice},
	{name: "no standard files", script: `sh -c 'exec 0<&- 1>&- 2>&-; sh -c "exit 5" & wait $!'; echo $?`},
	{name: "unmaps everything", script: `"$SCALE" unmap; echo $?`, erase: bashNotice},
	{name: "working directory gone", script: `mkdir d; cd d; rmdir ../d; sh -c 'echo x; exit 2'; echo $?; /bin/pwd; python3 -c 'print(1)'`},
	{name: "executable gone", script: `cp /bin/sleep mine; ./mine 0.3 & rm mine; wait $!; echo $?
		cp "$SCALE" s; ./s forks 20 </dev/null & until [ -e /proc/$!/exe ]; do :; done; rm s; wait $!; echo $?`},
	{name: "stack overflows", script: `(ulimit -s 256; sh -c 'f() { f; }; f' 2>/dev/null; echo "sh $?"; bash -c 'f() { f; }; f' 2>/dev/null; echo "bash $?")`, erase: bashNotice},
}

// TestEndings compares each ending with native's.
func TestEndings(t *testing.T) {
	before := takeStock(t)
	t.Run("all", func(t *testing.T) {
		for _, e := range endings {
			t.Run(strings.ReplaceAll(e.name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				e.row(t).check(t)
			})
		}
	})
	before.compare(t, takeStock(t))
}

func (e ending) row(t *testing.T) compatRow {
	row := compatRow{argv: []string{"bash", "-c", e.script}, env: []string{"SCALE=" + fixtures.Build(t, "scale", fixtures.GlibcDynamic), "DIR=$DIR"}}
	if e.erase != "" {
		row.erase = []string{e.erase}
	}
	return row
}

// TestDeaf: a payload that blocks every signal can be killed and nothing else.
func TestDeaf(t *testing.T) {
	before := takeStock(t)
	for _, vm := range []bool{false, true} {
		s := startScale(t, vm, "deaf")
		s.until("deaf")
		s.goOn()
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGALRM, syscall.SIGUSR1} {
			if err := s.cmd.Process.Signal(sig); err != nil {
				t.Errorf("vm %v: gone before %v: %v", vm, sig, err)
			}
		}
		kill(t, s.cmd.Process.Pid)
		if r := s.end(); r.Status != "signal 9" {
			t.Errorf("vm %v: %+v", vm, r)
		}
	}
	before.compare(t, takeStock(t))
}

// TestDiskFull: a file system without room gives the payload Linux's errors and signals.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system takes root")
	}
	before := takeStock(t)
	row := ending{script: `
		"$SCALE" full small; echo $?; rm -f small/*
		head -c 3000000 /dev/zero >small/a; echo $?; ls -l small | wc -l
		TMPDIR=$DIR/small sh -c 'seq 3 | cat'; (echo more) >small/b; echo $?
		cat <<EOF | wc -c
$(seq 2000)
EOF
		sqlite3 small/db 'create table t(a); insert into t values (1);' 2>&1; echo $?`}.row(t)
	row.drive = func(t *testing.T, s *session) result {
		small := filepath.Join(s.dir, "small")
		if err := os.Mkdir(small, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("none", small, "tmpfs", 0, "size=1m"); err != nil {
			if err == syscall.EPERM {
				t.Skip("no right to mount: a container without CAP_SYS_ADMIN")
			}
			t.Fatal(err)
		}
		defer syscall.Unmount(small, 0)
		return s.command(row.argv...).run(t)
	}
	row.check(t)
	before.compare(t, takeStock(t))
}

// TestOutOfMemory: the kernel kills a child that outgrows its group's memory; its parent sees that, and lives.
func TestOutOfMemory(t *testing.T) {
	group := memoryGroup(t, 256<<20)
	before := takeStock(t)
	row := ending{script: `
		echo $BASHPID >"$GROUP/cgroup.procs"
		python3 -c 'x = bytearray(1 << 30)' 2>/dev/null & wait $! 2>/dev/null; echo "child $?"
		echo "the parent lives"; sh -c 'echo "and forks"'`, erase: bashNotice}.row(t)
	row.env = append(row.env, "GROUP="+group)
	row.check(t)
	before.compare(t, takeStock(t))
}

// memoryGroup makes a control group with a limit in bytes, in whichever hierarchy this machine has.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	for _, h := range []struct{ root, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		dir := filepath.Join(h.root, fmt.Sprintf("kmdev-test-%d", os.Getpid()))
		if _, err := os.Stat(filepath.Join(h.root, "cgroup.procs")); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		if err := os.WriteFile(filepath.Join(dir, h.file), fmt.Appendln(nil, limit), 0o644); err == nil {
			return dir
		}
	}
	t.Skip("no memory control group can be made here")
	return ""
}
