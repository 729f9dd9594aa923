package loader

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testProgram has every kind of segment: code, constants, data that shares a page with .bss, a large .bss, TLS.
const testProgram = `
#include <unistd.h>
const char constant[5000] = {1};
int data[3000] = {1, 2, 3};
char bss[100000];
__thread int tls = 7;
int main(int argc, char **argv) { bss[argc] = constant[argc] + data[argc] + tls; return 0; }
`

// compile builds testProgram, and skips the test if the compiler is not installed.
func compile(t testing.TB, compiler string, flags ...string) string {
	t.Helper()
	if _, err := exec.LookPath(compiler); err != nil {
		t.Skipf("%s is not installed", compiler)
	}
	dir := t.TempDir()
	src, out := filepath.Join(dir, "p.c"), filepath.Join(dir, "p")
	writeFile(t, src, []byte(testProgram), 0o644)
	args := append([]string{"-o", out, src}, flags...)
	if msg, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", compiler, strings.Join(args, " "), err, msg)
	}
	return out
}

// compileGo builds an empty Go program.
func compileGo(t testing.TB, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	src, out := filepath.Join(dir, "p.go"), filepath.Join(dir, "p")
	writeFile(t, src, []byte("package main\n\nfunc main() {}\n"), 0o644)
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), src)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, msg)
	}
	return out
}

func writeFile(t testing.TB, path string, content []byte, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// executable writes an executable file.
func executable(t testing.TB, content string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "script"), []byte(content), 0o755)
}
