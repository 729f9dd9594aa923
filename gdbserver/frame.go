package gdbserver

// Characters with a meaning in a frame.
const (
	frameStart = '$'
	frameEnd   = '#'
	escapeByte = '}'
	escapeXor  = 0x20
	runByte    = '*'
	interrupt  = 0x03
	ackByte    = '+'
	nakByte    = '-'
)

const hexDigits = "0123456789abcdef"

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func checksum(p []byte) byte {
	var sum byte
	for _, c := range p {
		sum += c
	}
	return sum
}

// appendEscaped appends binary data with the characters escaped that mean something in a frame.
func appendEscaped(dst, data []byte) []byte {
	for _, c := range data {
		switch c {
		case frameStart, frameEnd, escapeByte, runByte:
			dst = append(dst, escapeByte, c^escapeXor)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unescape undoes it, in place. A trailing escape byte is an error.
func unescape(data []byte) ([]byte, bool) {
	out := data[:0]
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c == escapeByte {
			i++
			if i == len(data) {
				return nil, false
			}
			c = data[i] ^ escapeXor
		}
		out = append(out, c)
	}
	return out, true
}

// Bounds of a run: the count character is the number of repeats + runBias, from ' ' to '~'.
const (
	runBias = 29
	runMin  = 3
	runMax  = '~' - runBias
)

// appendRuns appends data with runs of equal bytes shortened ("Overview", run-length encoding).
func appendRuns(dst, data []byte) []byte {
	for i := 0; i < len(data); {
		c := data[i]
		repeats := 0
		for repeats < runMax && i+1+repeats < len(data) && data[i+1+repeats] == c {
			repeats++
		}
		dst = append(dst, c)
		i++
		if repeats < runMin {
			continue
		}
		for repeats+runBias == frameStart || repeats+runBias == frameEnd {
			repeats--
		}
		dst = append(dst, runByte, byte(repeats+runBias))
		i += repeats
	}
	return dst
}

// appendFrame appends a whole packet around an escaped body.
func appendFrame(dst, body []byte) []byte {
	dst = append(dst, frameStart)
	start := len(dst)
	dst = appendRuns(dst, body)
	sum := checksum(dst[start:])
	return append(dst, frameEnd, hexDigits[sum>>4], hexDigits[sum&15])
}
