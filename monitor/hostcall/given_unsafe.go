package hostcall

import (
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stateName begins the environment entry that hands a state over from one monitor to the next, across Fork or Exec. It
// counts only as the first entry, where a monitor always puts it: a payload's variable of that name never comes first.
const stateName = "KMDEVSTATE="

// handoverPlace is that entry: numbers in hexadecimal, each with a comma behind it.
type handoverPlace struct {
	bound      uintptr // FDBound; roomForDescriptors reads it
	addr, size uintptr // of the state in memory: Fork
	fd         uintptr // of the state as a file, if addr is 0: Exec
	top        uintptr // topKept, after a fork
	epfd       uintptr // addresses of the runtime's two variables that movePoller looks for: the same for the same binary
	eventfd    uintptr
}

func (p *handoverPlace) fields() [7]*uintptr {
	return [...]*uintptr{&p.bound, &p.addr, &p.size, &p.fd, &p.top, &p.epfd, &p.eventfd}
}

// givenText is the entry for the next monitor.
func givenText(p handoverPlace) string {
	if p.addr != 0 {
		p.top = topKept()
	}
	p.bound = uintptr(fdBound)
	p.epfd, p.eventfd = pollerVars[0], pollerVars[1]
	b := []byte(stateName)
	for _, f := range p.fields() {
		b = append(strconv.AppendUint(b, uint64(*f), 16), ',')
	}
	return string(b)
}

// given is what this process was handed; the zero value if nothing. Set before movePoller runs.
var given = readGiven()

func readGiven() (p handoverPlace) {
	if startVector == 0 {
		return p
	}
	env := stringsAt(envAt(), 1)
	if len(env) == 0 || !strings.HasPrefix(env[0], stateName) {
		return p
	}
	if !p.parse(env[0][len(stateName):]) {
		return handoverPlace{}
	}
	return p
}

func (p *handoverPlace) parse(s string) bool {
	for _, f := range p.fields() {
		word, rest, ok := strings.Cut(s, ",")
		v, err := strconv.ParseUint(word, 16, 64)
		if !ok || err != nil {
			return false
		}
		*f, s = uintptr(v), rest
	}
	return s == "" && (p.addr != 0 || p.fd != 0)
}

// StateGiven is the state that the monitor before handed over: this process is a forked child, or was executed by a
// payload. ok is false for a process that was started by hand.
//
//go:nocheckptr
func StateGiven() (state []byte, ok bool, err error) {
	switch {
	case given == handoverPlace{}:
		return nil, false, nil
	case given.addr != 0:
		return unsafe.Slice((*byte)(unsafe.Pointer(given.addr)), given.size), true, nil
	}
	fd := int(given.fd)
	defer unix.Close(fd)
	state = make([]byte, 0, 1<<16)
	for { // a file from its beginning, or a pipe that nobody writes to any more
		n, err := unix.Read(fd, state[len(state):cap(state)])
		if err != nil {
			return nil, true, fileError("read", "the state handed over", err)
		}
		if n == 0 {
			return state, true, nil
		}
		state = slices.Grow(state[:len(state)+n], 1)
	}
}

// GivenEntry is the environment entry that Exec puts first: stateFD is a file with the state, not close-on-exec.
func GivenEntry(stateFD int) string { return givenText(handoverPlace{fd: uintptr(stateFD)}) }
