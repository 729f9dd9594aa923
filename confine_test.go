package kmdev

import (
	"os/exec"
	"testing"
)

// TestSeccompProgram: a row changed without a new filter would end payloads with SIGSYS.
func TestSeccompProgram(t *testing.T) {
	out, err := exec.Command("go", "test", "-count=1", "./monitor/confine/policy").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
