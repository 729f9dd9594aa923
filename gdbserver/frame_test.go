package gdbserver

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestFrame(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"", "$#00"},
		{"OK", "$OK#9a"},
		{"0000", "$0* #7a"},                    // three repeats: ' '
		{"aaa", "$aaa#23"},                     // too short
		{strings.Repeat("0", 7), "$0*\"0#ac"},  // six repeats would be '#', five are '"'
		{strings.Repeat("0", 8), "$0*\"00#dc"}, // seven would be '$'
		{strings.Repeat("x", 99), "$x*~x#98"},  // the longest run, and one more
	} {
		if got := string(appendFrame(nil, []byte(c.body))); got != c.want {
			t.Errorf("frame of %q is %q, want %q", c.body, got, c.want)
		}
	}
}

// TestFramesAreUndone: whatever is escaped and framed comes out of a client's parser as it was.
func TestFramesAreUndone(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		data := make([]byte, rnd.IntN(200))
		b := byte(rnd.Uint32())
		for i := range data {
			if rnd.IntN(5) == 0 {
				b = []byte{0, 0, 'x', '$', '#', '}', '*', 0xff, byte(rnd.Uint32())}[rnd.IntN(9)]
			}
			data[i] = b
		}
		frame := appendFrame(nil, appendEscaped(nil, data))
		body, err := readReply(bufio.NewReader(bytes.NewReader(frame)))
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if got, ok := unescape(body); !ok || !bytes.Equal(got, data) {
			t.Fatalf("%q came out as %q", data, got)
		}
	}
}

func TestUnescapeRefusesHalfAnEscape(t *testing.T) {
	if _, ok := unescape([]byte("ab}")); ok {
		t.Error("a trailing escape byte was accepted")
	}
}

// TestAcknowledgements: a bad checksum is asked for again, and so can the client; noise between packets is ignored.
func TestAcknowledgements(t *testing.T) {
	dial, _ := start(t, newFake())
	c := dial()
	c.conn.Write([]byte("+noise$qC#00"))
	if b, err := c.r.ReadByte(); b != nakByte || err != nil {
		t.Fatalf("bad checksum answered %q, %v", b, err)
	}
	c.conn.Write([]byte("$qC#b4"))
	if b, err := c.r.ReadByte(); b != ackByte || err != nil {
		t.Fatalf("good packet answered %q, %v", b, err)
	}
	first := c.receive()
	c.conn.Write([]byte{nakByte})
	if again := c.receive(); again != first || first != "QC64" {
		t.Errorf("the reply is %q, again %q", first, again)
	}
}

// TestLongPacket: too long a packet is refused, and the connection goes on.
func TestLongPacket(t *testing.T) {
	c, _ := connected(t, newFake())
	if got := c.ask("M400000,1:" + strings.Repeat("0", maxPacket)); !strings.HasPrefix(got, "E.") {
		t.Errorf("an endless packet → %q", got)
	}
	c.want("qC", "QCp64.64")
}
