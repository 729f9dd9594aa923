package words

import "testing"

func TestReverse(t *testing.T) {
	if got := Reverse("añb"); got != "bña" {
		t.Errorf("got %q", got)
	}
}
