package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// compatRow is a row of docs/compatibility.md: an unmodified program of the distribution at real work, whose run under kmdev
// must look like the native one.
type compatRow struct {
	program string // as people call it; unique together with ran
	pkg     string // the Debian package, whose version the page gives
	ran     string // what was run, in a few words for the page

	// folder is copied from testdata/compat to $DIR, the working directory of the run, which argv, env and stdin may name.
	folder string
	argv   []string
	env    []string
	stdin  string
	makes  []string // files compared too
	drive  driver   // instead of a plain run to the end: a server and its client

	erase []string // regular expressions of what differs from run to run natively too: pids, addresses
	proof bool     // TestEachProcessInItsVM takes it too
	long  bool     // for make test-full only
	log   string   // the name of a refused hypercall, which kmdev reports on standard error and the program does without
	gap   string   // how kmdev's run differs and why. The test fails when it no longer does
}

// driver runs a server with its client and returns what the client saw and how the server ended.
type driver func(t *testing.T, s *session) result

// compatPatience bounds a run: a compiler that starts a hundred processes on a busy machine works long.
const compatPatience = 4 * time.Minute

// compatPath holds the distribution's programs and the Go tool, no wrappers of the machine's owner.
const compatPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// TestCompat runs what people have. `make compat` also writes what it finds to docs/compatibility.md.
func TestCompat(t *testing.T) {
	page := newCompatPage(t)
	// The rows run in a group of their own, so that the page is written behind the last of them.
	t.Run("rows", func(t *testing.T) {
		for _, row := range compatRows() {
			t.Run(row.name(), func(t *testing.T) {
				if row.long && !full {
					t.Skip("long: make test-full runs it")
				}
				t.Parallel()
				row.check(t)
			})
		}
	})
	page.settle(t)
}

func compatRows() (all []compatRow) {
	for _, part := range [][]compatRow{compatShells, compatTools, compatLanguages, compatServers, compatStress, compatEmulators} {
		all = append(all, part...)
	}
	return all
}

var unfit = regexp.MustCompile(`[^a-zA-Z0-9.+-]+`)

func (row compatRow) name() string {
	return unfit.ReplaceAllString(row.program+"/"+firstWords(row.ran), "_")
}

func firstWords(s string) string {
	words := strings.Fields(s)
	return strings.Join(words[:min(4, len(words))], " ")
}

func (row compatRow) check(t *testing.T) {
	native, nativeDir := row.run(t, nil)
	if t.Failed() {
		return
	}
	if row.gap != "" {
		row.checkGap(t, native)
		return
	}
	got, gotDir := row.run(t, inVM)
	wantEqual(t, native, got)
	for _, f := range row.makes {
		diffLines(t, f, readAll(t, filepath.Join(nativeDir, f)), readAll(t, filepath.Join(gotDir, f)))
	}
}

// checkGap makes sure that a difference the page tells of still exists.
func (row compatRow) checkGap(t *testing.T, native result) {
	if got, _ := row.run(t, inVM); got == native {
		t.Errorf("runs as natively now: take its gap (%s) away", row.gap)
	}
}

// wrapping is how a run's programs are started in VMs.
type wrapping struct {
	under []string // a command line that kmdev's is appended to
}

var inVM = &wrapping{}

// run runs the row in a fresh directory: natively if w is nil, else under kmdev.
func (row compatRow) run(t *testing.T, w *wrapping) (result, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // servers that drop their rights go there
		t.Fatal(err)
	}
	if row.folder != "" {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "compat", row.folder))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	s := &session{row: row, dir: dir, w: w}
	var r result
	if row.drive != nil {
		r = row.drive(t, s)
	} else {
		r = s.command(row.argv...).run(t)
	}
	return row.comparable(r, dir), dir
}

// session is one run of a row.
type session struct {
	row compatRow
	dir string
	w   *wrapping // nil: native
}

func (s *session) expand(text string) string { return strings.ReplaceAll(text, "$DIR", s.dir) }

// command is argv as this run starts it.
func (s *session) command(argv ...string) command {
	c := s.nativeCommand(argv...)
	if s.w != nil {
		c.argv = slices.Concat(s.w.under, []string{kmdev, "run", "--"}, c.argv)
	}
	return c
}

// nativeCommand is argv, native in every run: a client that drives a server.
func (s *session) nativeCommand(argv ...string) command {
	c := command{dir: s.dir, stdin: s.expand(s.row.stdin), limit: compatPatience, env: []string{
		"PATH=" + compatPath + ":" + goBin(), "LANG=C.UTF-8", "TZ=UTC", "HOME=" + s.dir, "TMPDIR=" + filepath.Join(s.dir, "tmp"),
	}}
	for _, e := range s.row.env {
		c.env = append(c.env, s.expand(e))
	}
	for _, a := range argv {
		c.argv = append(c.argv, s.expand(a))
	}
	c.argv[0] = compatProgram(c.argv[0])
	return c
}

// compatProgram finds a program of the distribution.
func compatProgram(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range append(filepath.SplitList(compatPath), goBin()) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return name // starting it says that it is missing
}

func goBin() string {
	path, err := exec.LookPath("go")
	if err != nil {
		return "/usr/local/go/bin"
	}
	return filepath.Dir(path)
}

// comparable takes out of a result what differs between two native runs: the directory's name, and what the row erases.
func (row compatRow) comparable(r result, dir string) result {
	for _, text := range []*string{&r.Stdout, &r.Stderr} {
		*text = strings.ReplaceAll(*text, dir, "$DIR")
		for _, e := range row.erase {
			*text = regexp.MustCompile(e).ReplaceAllString(*text, "…")
		}
	}
	if row.log != "" {
		r.Stderr = regexp.MustCompile(`(?m)^level=WARN msg="hypercall refused" name=`+row.log+` .*\n`).ReplaceAllString(r.Stderr, "")
	}
	return r
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}
