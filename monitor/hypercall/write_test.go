package hypercall_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"kmdev/monitor/hypercall"
)

var update = flag.Bool("update", false, "write docs/syscalls.md")

func TestDocumentIsUpToDate(t *testing.T) {
	const name = "../../docs/syscalls.md"
	var want bytes.Buffer
	if err := hypercall.WriteTable(&want, hypercall.Markdown); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(have, want.Bytes()) {
		t.Errorf("docs/syscalls.md is not what the table says (%v): run go generate ./monitor/hypercall", err)
	}
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	if err := hypercall.WriteTable(&b, hypercall.Text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	rows := 0
	for range hypercall.Rows {
		rows++
	}
	if len(lines) != rows+1 {
		t.Errorf("%d lines for %d rows", len(lines), rows)
	}
	for _, want := range []string{
		"   0  read                     file      passed",
		"   9  mmap                     memory    served",
		" 169  reboot                   system    refused: EPERM       as without CAP_SYS_BOOT: a payload does not reboot the host",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
}
