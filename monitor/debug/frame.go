package debug

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A frame is: length of the rest (uint32), id (uint32), kind (uint8), body.
const (
	frameHeader = 4
	frameFixed  = 5
	// maxFrame bounds what a reader allocates for one frame.
	maxFrame = 8 << 20
	// maxTransfer is the most memory moved by one message.
	maxTransfer = 4 << 20
)

// frame builds a whole frame.
func frame(id uint32, k kind, body message) []byte {
	buf := make([]byte, frameHeader+frameFixed, 256)
	binary.LittleEndian.PutUint32(buf[frameHeader:], id)
	buf[frameHeader+4] = byte(k)
	buf = encode(buf, body)
	binary.LittleEndian.PutUint32(buf, uint32(len(buf)-frameHeader))
	return buf
}

// readFrame reads one frame. io.EOF says that the other side closed between frames.
func readFrame(r io.Reader) (id uint32, k kind, body []byte, err error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < frameFixed || n > maxFrame {
		return 0, 0, nil, fmt.Errorf("%w: a frame of %d bytes", errMalformed, n)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, nil, err
	}
	return binary.LittleEndian.Uint32(buf), kind(buf[4]), buf[frameFixed:], nil
}
