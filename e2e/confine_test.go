package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// tree is a payload with a child, and one that has executed another program; each says its pid and waits for standard input to end.
const tree = `
echo $$
( echo $BASHPID; read line ) <&3 &
( echo $BASHPID; exec /bin/cat ) <&3 &
read line
wait
`

// statusLines starts a tree and returns what the host says of each of its processes, as "name value".
func statusLines(t *testing.T, wrapper []string, names ...string) []string {
	t.Helper()
	argv := append(wrapper, "/bin/bash", "-c", tree)
	cmd := exec.Command(argv[0], argv[1:]...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdin, cmd.ExtraFiles, cmd.Stderr = r, []*os.File{r}, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer w.Close()
	lines := bufio.NewScanner(out)
	var found []string
	for range 3 {
		if !lines.Scan() {
			t.Fatal("the payload has ended")
		}
		found = append(found, hostStatus(t, lines.Text(), names))
	}
	return found
}

func hostStatus(t *testing.T, pid string, names []string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, name := range names {
		_, rest, _ := strings.Cut(string(text), "\n"+name+":\t")
		value, _, _ := strings.Cut(rest, "\n")
		values = append(values, name+" "+value)
	}
	return strings.Join(values, ", ")
}

// TestConfined: each process of a tree has the monitor's filter, and has it once.
func TestConfined(t *testing.T) {
	var before int
	if _, err := fmt.Sscanf(hostStatus(t, "self", []string{"Seccomp_filters"}), "Seccomp_filters %d", &before); err != nil {
		t.Fatalf("this kernel does not tell the number of filters: %v", err)
	}
	for _, c := range []struct {
		option string
		want   int
	}{{"--seccomp=on", before + 1}, {"--seccomp=off", before}} {
		for i, got := range statusLines(t, []string{kmdev, "run", c.option}, "Seccomp_filters") {
			if want := fmt.Sprintf("Seccomp_filters %d", c.want); got != want {
				t.Errorf("%s: process %d has %s, want %s", c.option, i, got, want)
			}
		}
	}
}

// rights is what a payload sees of its no_new_privs, at first, in a program that it executes, and after it has set it.
const rights = `
grep NoNewPrivs /proc/self/status
/bin/bash -c "grep NoNewPrivs /proc/self/status; (grep Seccomp: /proc/self/status)"
setpriv --no-new-privs /bin/bash -c "grep NoNewPrivs /proc/self/status; (grep NoNewPrivs /proc/self/status)"
`

// TestOwnNoNewPrivs: a monitor without CAP_SYS_ADMIN has no_new_privs on the host, and the payload sees its own.
func TestOwnNoNewPrivs(t *testing.T) {
	without := []string{"setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"}
	for i, got := range statusLines(t, append(without, kmdev, "run"), "NoNewPrivs") {
		if got != "NoNewPrivs 1" {
			t.Errorf("process %d has %s on the host", i, got)
		}
	}
	run := func(argv ...string) string {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
		return string(out)
	}
	native := run(append(without, "/bin/bash", "-c", rights)...)
	if got := run(append(without, kmdev, "run", "/bin/bash", "-c", rights)...); got != native {
		t.Errorf("the payload sees\n%snative is\n%s", got, native)
	}
}
