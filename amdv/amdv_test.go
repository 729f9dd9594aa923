package amdv

import (
	"bufio"
	"context"
	"debug/elf"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kmdev/fixtures"
)

// patience bounds the whole boot: about five times what it takes on two busy cores.
const patience = 4 * time.Minute

// payload is a fixture to run in the emulated machine.
type payload struct {
	name    string
	variant fixtures.Variant
	args    string
}

var payloads = []payload{
	{"hello", fixtures.GlibcStatic, ""},
	{"hello", fixtures.GlibcDynamic, ""},
	{"hello", fixtures.MuslStatic, ""},
	{"hello", fixtures.GlibcStaticPIE, ""},
	{"gohello", fixtures.Go, ""},
	{"entry", fixtures.Assembly, ""},
	{"args", fixtures.MuslStatic, "one two"},
	{"exitcode", fixtures.MuslStatic, "42"},
	{"die", fixtures.MuslStatic, "null_write"},
	{"die", fixtures.MuslStatic, "fpe"},
	{"die", fixtures.MuslStatic, "ill"},
	{"die", fixtures.MuslStatic, "exec_data"},
	{"die", fixtures.MuslStatic, "bus"},
	{"die", fixtures.MuslStatic, "overflow"},
	{"die", fixtures.MuslStatic, "bad_stack"},
	// without "instructions": TCG's own answers to some of them kill the process natively
	{"faults", fixtures.GlibcStatic, "page_faults far_addresses file_faults ports floating_point trap_flag"},
	{"sig_basic", fixtures.MuslStatic, ""},
	{"sig_queue", fixtures.MuslStatic, ""},
	{"sig_stack", fixtures.MuslStatic, ""},
	{"sig_context", fixtures.MuslStatic, ""},
	{"threads", fixtures.MuslStatic, "20 waves"},
	{"proc_fork", fixtures.MuslStatic, ""},
	{"thread_sync", fixtures.MuslStatic, ""},
	{"clone_raw", fixtures.MuslStatic, ""},
	{"vectors", fixtures.MuslStatic, ""},
	{"fsgsbase", fixtures.MuslStatic, ""},
	{"mem_map", fixtures.MuslStatic, ""},
	{"mem_file", fixtures.MuslStatic, ""},
	{"mem_exec", fixtures.MuslStatic, ""},
	{"clock", fixtures.MuslStatic, "1000"},
}

var (
	only       = flag.String("only", "", "regexp: run only the cases whose names match")
	tcgThreads = flag.String("tcg-threads", "single", "QEMU's TCG threads: single or multi")
	cpus       = flag.String("cpus", "2", "CPUs of the machine")
	repeat     = flag.Int("repeat", 1, "how many times to run each case in the machine")
)

// TestAMDV boots the machine once and checks every case.
func TestAMDV(t *testing.T) {
	cases, files := plan(t)
	cases = selected(cases)
	results := boot(t, initramfs(t, cases, files))
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			i := slices.IndexFunc(results, func(r Result) bool { return r.Name == c.Name })
			if i < 0 {
				t.Fatal("no result: the machine stopped before this case")
			}
			check(t, c, results[i])
		})
	}
}

// selected applies the -only and -repeat flags.
func selected(cases []Case) []Case {
	pattern := regexp.MustCompile(*only)
	var chosen []Case
	for _, c := range cases {
		if !pattern.MatchString(c.Name) {
			continue
		}
		for i := range *repeat {
			again := c
			if i > 0 {
				again.Name = fmt.Sprintf("%s (%d)", c.Name, i+1)
			}
			chosen = append(chosen, again)
		}
	}
	return chosen
}

// plan returns the cases and the files they need (path in the machine → path here).
func plan(t *testing.T) ([]Case, map[string]string) {
	t.Helper()
	files := map[string]string{
		"/lib64/ld-linux-x86-64.so.2":       "/lib64/ld-linux-x86-64.so.2",
		"/lib/x86_64-linux-gnu/libc.so.6":   "/lib/x86_64-linux-gnu/libc.so.6",
		"/lib/x86_64-linux-gnu/libm.so.6":   "/lib/x86_64-linux-gnu/libm.so.6",
		"/lib/x86_64-linux-gnu/librt.so.1":  "/lib/x86_64-linux-gnu/librt.so.1",
		"/lib/x86_64-linux-gnu/libgcc.so.1": "/lib/x86_64-linux-gnu/libgcc_s.so.1",
	}
	install := func(p payload) string {
		path := filepath.Join("/payloads", string(p.variant), p.name)
		files[path] = fixtures.Build(t, p.name, p.variant)
		return path
	}
	cases := []Case{{Name: "doctor", Tool: []string{KmdevFile, "doctor"}, Seconds: 60}}
	for _, p := range payloads {
		cases = append(cases, Case{
			Name:    strings.TrimSpace(p.name + " " + string(p.variant) + " " + p.args),
			Argv:    append([]string{install(p)}, strings.Fields(p.args)...),
			Seconds: 60,
		})
	}
	basic := payload{"dbg_basic", fixtures.GlibcStatic, ""}
	path := install(basic)
	cases = append(cases, Case{Name: "debugger", Argv: []string{path}, Seconds: 90, Debug: &Debug{
		Breakpoint: symbol(t, files[path], "factorial"),
		Again:      symbol(t, files[path], "handler"),
		Variable:   symbol(t, files[path], "watched"),
		Value:      5,
	}})
	return cases, files
}

func symbol(t *testing.T, path, name string) uint64 {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == name {
			return s.Value
		}
	}
	t.Fatalf("no symbol %s in %s", name, path)
	return 0
}

func check(t *testing.T, c Case, r Result) {
	t.Helper()
	if r.Error != "" {
		t.Error(r.Error)
	}
	switch {
	case c.Tool != nil:
		t.Logf("%s\n%s%s", r.Kmdev.Status, r.Kmdev.Stdout, r.Kmdev.Stderr)
		if r.Kmdev.Status != "exit 0" {
			t.Errorf("%v ended with %s", c.Tool, r.Kmdev.Status)
		}
	case c.Debug != nil:
		if got, want := strings.Join(r.Transcript, "\n"), strings.Join(conversation, "\n"); got != want {
			t.Errorf("conversation:\n%s\nwant:\n%s", got, want)
		}
	default:
		t.Logf("native %d ms, under kmdev %d ms", r.Native.Milliseconds, r.Kmdev.Milliseconds)
		if r.Native.Status == "timeout" || strings.Contains(r.Native.Stdout, "FAIL ") {
			t.Fatalf("the payload fails natively in the machine: %+v", r.Native)
		}
		compare(t, r)
	}
}

// conversation is what the debugger's client in init says when all is well.
var conversation = []string{
	"first stop T05", "continued: T05", "at breakpoint: true", "variable 5", "breakpoint is hidden: true",
	"stepped: T05", "moved: true", "stepped: T05", "moved: true", "stepped: T05", "moved: true",
	"stepped: T05", "moved: true", "stepped: T05", "moved: true",
	"written 0xdeadbeef", "missing memory: E", "continued: T05", "at second breakpoint: true", "ended: W03",
}

func compare(t *testing.T, r Result) {
	t.Helper()
	if r.Kmdev.Status != r.Native.Status {
		t.Errorf("ended with %s, natively with %s", r.Kmdev.Status, r.Native.Status)
	}
	if r.Kmdev.Stderr != r.Native.Stderr {
		t.Errorf("stderr %q, natively %q", r.Kmdev.Stderr, r.Native.Stderr)
	}
	native, got := strings.Split(r.Native.Stdout, "\n"), strings.Split(r.Kmdev.Stdout, "\n")
	for i := range max(len(native), len(got)) {
		n, g := "(nothing)", "(nothing)"
		if i < len(native) {
			n = native[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if n != g {
			t.Errorf("stdout line %d: %q, natively %q", i+1, g, n)
		}
	}
}

// initramfs packs init, kmdev, the kernel's modules, the cases and the files.
func initramfs(t *testing.T, cases []Case, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-o", init, "./init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./init: %v\n%s", err, out)
	}
	list, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	var a archive
	a.add(CasesFile, list)
	files["/init"] = init
	files[KmdevFile] = filepath.Join(root, "bin", "kmdev")
	for _, m := range []string{"irqbypass", "ccp", "kvm", "kvm-amd"} {
		files["/modules/"+m+".ko"] = filepath.Join(fixtures.CacheDir(), "amdv", m+".ko")
	}
	for name, host := range files {
		if err := a.addFile(name, host); err != nil {
			t.Fatalf("%v (run make test-amdv, which fetches the kernel and builds kmdev)", err)
		}
	}
	image := filepath.Join(dir, "initramfs")
	if err := os.WriteFile(image, a.finish(), 0o644); err != nil {
		t.Fatal(err)
	}
	return image
}

// boot runs the machine to its power-off and returns what it sent.
func boot(t *testing.T, image string) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sent := filepath.Join(t.TempDir(), "results")
	start := time.Now()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread="+*tcgThreads, "-cpu", "EPYC,+svm,+npt", "-smp", *cpus, "-m", "1536",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(fixtures.CacheDir(), "amdv", "vmlinuz"), "-initrd", image,
		"-append", "console=ttyS0 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable no_timer_check",
		"-serial", "stdio", "-serial", "file:"+sent)
	console, err := cmd.CombinedOutput()
	t.Logf("the machine ran for %.0f s", time.Since(start).Seconds())
	if ctx.Err() != nil {
		t.Errorf("the machine did not finish in %v", patience)
	} else if err != nil {
		t.Errorf("qemu: %v", err)
	}
	results, done := parse(t, sent)
	if !done || t.Failed() {
		t.Errorf("the machine stopped early; its console:\n%s", console)
	}
	return results
}

func parse(t *testing.T, sent string) (results []Result, done bool) {
	t.Helper()
	f, err := os.Open(sent)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if lines.Text() == Done {
			return results, true
		}
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Errorf("result line %q: %v", lines.Text(), err)
			continue
		}
		results = append(results, r)
	}
	return results, false
}
