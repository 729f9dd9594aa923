package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The rows that run a script to its end. What the scripts do is in testdata/compat; they pass natively twice with the same output.

const bashKilled = `posix.sh: line \d+: +\d+ ` // bash names the pid of a child that a signal ended

var compatShells = []compatRow{
	{program: "dash", pkg: "dash", ran: "pipes, heredocs, traps, jobs, fifos, 200 programs in a loop, exec",
		folder: "shell", argv: []string{"dash", "posix.sh"}, proof: true},
	{program: "bash", pkg: "bash", ran: "the same script",
		folder: "shell", argv: []string{"bash", "posix.sh"}, erase: []string{bashKilled}},
	{program: "busybox sh", pkg: "busybox-static", ran: "the same script",
		folder: "shell", argv: []string{"busybox", "sh", "posix.sh"}},
	{program: "zsh", pkg: "zsh", ran: "the same script, as sh",
		folder: "shell", argv: []string{"zsh", "--emulate", "sh", "posix.sh"}},
	{program: "bash", pkg: "bash", ran: "process substitution, coprocess, job control, PIPESTATUS, ERR and CHLD traps, xargs -P",
		folder: "shell", argv: []string{"bash", "bash.sh"}, proof: true},
	{program: "zsh", pkg: "zsh", ran: "multios, coprocess, process substitution, modules, traps",
		folder: "shell", argv: []string{"zsh", "zsh.zsh"}},
	{program: "tar, xz, zstd, gzip", pkg: "tar", ran: "archives through pipes, there and back",
		folder: "shell", argv: []string{"sh", "tar.sh"}},
}

var compatTools = []compatRow{
	{program: "GNU make, gcc", pkg: "make", ran: "make -j4 of a C project: generated sources, recursive make, library, program, failing target",
		folder: "make", argv: []string{"make", "-j4"}, proof: true, makes: []string{"part1.c", "libparts.a"}},
	{program: "go build", pkg: "", ran: "vet, build, test of a small module, a program that starts children",
		folder: "gomod", argv: []string{"sh", "build.sh"},
		env: []string{"GOCACHE=" + goCache(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "GOTELEMETRY=off"}},
	{program: "git", pkg: "git", ran: "init, add, commit, log, merge, stash, rebase, gc, fsck, clone, push, hooks, bisect",
		folder: "shell", argv: []string{"sh", "git.sh"}, proof: true},
	{program: "ps, pgrep, lsof", pkg: "procps", ran: "a tree's processes as its own shell sees them",
		folder: "proc", argv: []string{"bash", "processes.sh"}},
}

var compatLanguages = []compatRow{
	{program: "python3", pkg: "python3.11", ran: "subprocess: pipes, signals, sessions, descriptors, users, time-outs",
		folder: "python", argv: []string{"python3", "subprocesses.py"}},
	{program: "python3", pkg: "python3.11", ran: "multiprocessing: fork, spawn, forkserver; pools, queues, locks, shared memory, managers",
		folder: "python", argv: []string{"python3", "processes.py"}, proof: true},
	{program: "python3", pkg: "python3.11", ran: "asyncio: streams, subprocesses, signals, timers, threads, SCM_RIGHTS",
		folder: "python", argv: []string{"python3", "async.py"}},
	{program: "python3", pkg: "python3.11", ran: "ctypes: callbacks, a library built by gcc, code written at run time, a crash",
		folder: "python", argv: []string{"python3", "ctypes_calls.py"}},
	{program: "node", pkg: "nodejs", ran: "child_process: spawn, exec, fork with IPC, synchronous ones, signals, stdio",
		folder: "node", argv: []string{"node", "children.js"}},
	{program: "node", pkg: "nodejs", ran: "worker_threads: messages, Atomics, errors, termination; WebAssembly",
		folder: "node", argv: []string{"node", "threads.js"}},
	{program: "node", pkg: "nodejs", ran: "http: 500 requests, and a cluster that shares a port",
		folder: "node", argv: []string{"node", "web.js"}},
	{program: "javac", pkg: "openjdk-17-jdk-headless", ran: "compiles the program of the next rows",
		folder: "java", argv: []string{"javac", "Main.java"}, makes: []string{"Main.class"}},
	{program: "java", pkg: "openjdk-17-jre-headless", ran: "8 threads with a 48 MB heap under pressure, null checks, stack overflow, sockets (G1)",
		folder: "java", argv: javaRun("-XX:+UseG1GC")},
	{program: "java", pkg: "openjdk-17-jre-headless", ran: "the same, Z collector (multi-mapped heap)",
		folder: "java", argv: javaRun("-XX:+UseZGC")},
	{program: "java", pkg: "openjdk-17-jre-headless", ran: "the same, Shenandoah",
		folder: "java", argv: javaRun("-XX:+UseShenandoahGC")},
	{program: "java", pkg: "openjdk-17-jre-headless", ran: "the same, with ProcessBuilder (posix_spawn through jspawnhelper)",
		folder: "java", argv: append(javaRun("-XX:+UseSerialGC"), "children")},
	{program: "perl", pkg: "perl", ran: "fork, pipes, signals, socketpair, ithreads, exec",
		folder: "lang", argv: []string{"perl", "perl.pl"}},
	{program: "ruby", pkg: "ruby3.1", ran: "fork, spawn, Open3, signals, threads, sockets, fibers, collections",
		folder: "lang", argv: []string{"ruby", "ruby.rb"}},
	{program: "lua", pkg: "lua5.4", ran: "io.popen, os.execute, collections",
		folder: "lang", argv: []string{"lua5.4", "lua.lua"}, erase: []string{"/tmp/lua_\\w+"}},
	{program: "tcl", pkg: "tcl8.6", ran: "exec, command pipelines, file events, timers, sockets",
		folder: "lang", argv: []string{"tclsh8.6", "tcl.tcl"}},
	{program: "php", pkg: "php8.2-cli", ran: "proc_open, pcntl_fork, signals, streams, collections, exec",
		folder: "lang", argv: []string{"php", "php.php"}},
	{program: "guile", pkg: "guile-3.0", ran: "primitive-fork, pipes, par-map, signals, continuations, collections (JIT)",
		folder: "lisp", argv: []string{"guile", "--no-auto-compile", "guile.scm"}},
	{program: "sbcl", pkg: "sbcl", ran: "threads, write barriers by mprotect, handled faults, stack exhaustion, run-program, fork",
		folder: "lisp", argv: []string{"sbcl", "--noinform", "--no-sysinit", "--no-userinit", "--disable-debugger", "--load", "sbcl.lisp"},
		erase: []string{`pid \d+`, `tid \d+`, `0x[0-9a-f]+`}},
}

// javaRun runs the program straight from its source: the JVM compiles it in memory first.
func javaRun(collector string) []string {
	return []string{"java", "-Xmx48m", collector, "Main.java"}
}

var compatEmulators = []compatRow{
	{program: "qemu-user", pkg: "qemu-user", ran: "qemu-x86_64 runs busybox sh with pipes: the JIT of an emulator inside the payload",
		argv: []string{"qemu-x86_64", "/bin/busybox", "sh", "-c", "seq 300 | busybox sha256sum; busybox sort -r /etc/passwd | head -n 3; (exit 3); echo $?; exit 9"}},
	{program: "qemu-user", pkg: "qemu-user", ran: "qemu-aarch64 runs a Go program for arm64",
		drive: runForeignGo},
}

const foreignProgram = `package main

import ("fmt"; "os"; "runtime"; "sync")

func main() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for i := 0; i < 20; i++ {
		wg.Add(1)
		go func() { defer wg.Done(); b := make([][]byte, 0); for j := 0; j < 2000; j++ { b = append(b, make([]byte, j)) }; mu.Lock(); total += len(b); mu.Unlock() }()
	}
	wg.Wait(); runtime.GC()
	defer func() { fmt.Println(recover()); os.Exit(6) }()
	var p *int
	fmt.Println(runtime.GOARCH, total, *p)
}
`

// runForeignGo builds a program for another processor natively, and runs it in the emulator.
func runForeignGo(t *testing.T, s *session) result {
	t.Helper()
	src := filepath.Join(s.dir, "main.go")
	if err := os.WriteFile(src, []byte(foreignProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(s.dir, "prog"), src)
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s.command("qemu-aarch64", "$DIR/prog").run(t)
}

// goCache is where this test's own Go tool keeps what it has compiled.
func goCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "go-build")
}

// stressors are stress-ng's. Each verifies its own work and ends with a status that says so.
func stressors() (rows []compatRow) {
	refused := map[string]string{"madvise": "process_madvise"}
	for _, s := range []struct{ name, ops, size string }{
		{"futex", "2000", ""}, {"mremap", "10", "4m"}, {"madvise", "2", ""}, {"brk", "2000", ""}, {"clone", "60", ""}, {"vfork", "100", ""},
		{"sigq", "1000", ""}, {"sigsegv", "1000", ""}, {"fork", "100", ""}, {"mmap", "4", "16m"},
	} {
		argv := []string{"stress-ng", "--" + s.name, "2", "--" + s.name + "-ops", s.ops, "--verify", "--quiet", "--temp-path", "$DIR/tmp"}
		if s.size != "" {
			argv = append(argv, "--"+s.name+"-bytes", s.size)
		}
		rows = append(rows, compatRow{program: "stress-ng", pkg: "stress-ng", ran: "--" + s.name + " 2 --verify, " + s.ops + " operations", argv: argv,
			log: refused[s.name]})
	}
	return rows
}

var compatStress = stressors()
