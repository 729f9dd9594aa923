// Package e2e tests bin/kmdev from outside: whole programs whose output and
// exit status must be those of a native run, gdb sessions, the command line.
//
// The tests need /dev/kvm and every program that `make setup` installs; what is
// missing fails a test, it never skips one.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// kmdev is the path of the binary under test, as `make build` makes it.
var kmdev string

// full is set by make test-full: soak tests then run as often as the project's goals say.
var full = os.Getenv("KMDEV_FULL") != ""

func TestMain(m *testing.M) {
	var err error
	if kmdev, err = binary(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// binary builds bin/kmdev, or takes $KMDEV_BIN: a binary built before, or one
// that runs payloads in another way, to check the tests themselves.
func binary() (string, error) {
	if path := os.Getenv("KMDEV_BIN"); path != "" {
		return filepath.Abs(path)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "bin", "kmdev"), build(root)
}

func build(root string) error {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return fmt.Errorf("these tests need KVM: %w", err)
	}
	out, err := exec.Command("make", "-s", "-C", root, "build").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
}
