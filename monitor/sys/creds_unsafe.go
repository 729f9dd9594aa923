package sys

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"kmdev/monitor/hypercall"
)

// credentials are what credentials(7) and capabilities(7) give to a thread.
// Package unix sets them for all threads of a process; here it is one.
type credentials struct {
	uids, gids   [4]uint32 // real, effective, saved, filesystem
	groups       []uint32
	caps         capSets
	ambient      uint64
	bounding     uint64
	secure       uint64
	noNewPrivs   bool
	lastCapacity int // number of capabilities
}

// capSets are effective, permitted and inheritable capabilities in the two
// words of capset(2).
type capSets [2]unix.CapUserData

// Bits of securebits (linux/securebits.h).
const (
	secureNoFixup  = 1 << 2 // SECBIT_NO_SETUID_FIXUP
	secureKeepCaps = 1 << 4 // SECBIT_KEEP_CAPS
)

// call makes a call of the calling thread and returns its error.
func call(nr uintptr, a ...uintptr) error {
	var p [5]uintptr
	copy(p[:], a)
	if e := hypercall.Errno(raw(nr, p[0], p[1], p[2], p[3], p[4], 0)); e != 0 {
		return e
	}
	return nil
}

func (c *credentials) read() error {
	addr := func(p *uint32) uintptr { return uintptr(unsafe.Pointer(p)) }
	u, g := &c.uids, &c.gids
	if err := call(unix.SYS_GETRESUID, addr(&u[0]), addr(&u[1]), addr(&u[2])); err != nil {
		return err
	}
	if err := call(unix.SYS_GETRESGID, addr(&g[0]), addr(&g[1]), addr(&g[2])); err != nil {
		return err
	}
	none := ^uintptr(0)
	u[3], g[3] = uint32(raw(unix.SYS_SETFSUID, none, 0, 0, 0, 0, 0)), uint32(raw(unix.SYS_SETFSGID, none, 0, 0, 0, 0, 0))
	c.groups = make([]uint32, int(raw(unix.SYS_GETGROUPS, 0, 0, 0, 0, 0, 0)))
	if len(c.groups) > 0 {
		if err := call(unix.SYS_GETGROUPS, uintptr(len(c.groups)), addr(&c.groups[0])); err != nil {
			return err
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&hdr, &c.caps[0]); err != nil {
		return err
	}
	for c.lastCapacity = 0; c.lastCapacity < 64; c.lastCapacity++ {
		i := uintptr(c.lastCapacity)
		has := raw(unix.SYS_PRCTL, unix.PR_CAPBSET_READ, i, 0, 0, 0, 0)
		if hypercall.Errno(has) != 0 {
			break
		}
		c.bounding |= has << i
		if raised := raw(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, i, 0, 0, 0); hypercall.Errno(raised) == 0 {
			c.ambient |= raised << i
		}
	}
	c.secure = raw(unix.SYS_PRCTL, unix.PR_GET_SECUREBITS, 0, 0, 0, 0, 0)
	c.noNewPrivs = raw(unix.SYS_PRCTL, unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0, 0) == 1
	return nil
}

func (c *credentials) equal(o *credentials) bool {
	return c.uids == o.uids && c.gids == o.gids && slices.Equal(c.groups, o.groups) && c.caps == o.caps && c.ambient == o.ambient &&
		c.bounding == o.bounding && c.secure == o.secure && c.noNewPrivs == o.noNewPrivs
}

var errCreds = errors.New("the new thread's are not its maker's")

// adopt gives the calling thread c. It works downwards only, which is how a
// thread and those made before it differ, and looks at the result.
func (c *credentials) adopt() error {
	var have credentials
	if err := have.read(); err != nil {
		return err
	}
	if c.equal(&have) {
		return nil
	}
	// Changed credentials make the process undumpable; that was decided when
	// the maker changed its own.
	dumpable := raw(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0, 0, 0, 0)
	if err := errors.Join(c.adoptIDs(&have), c.adoptCaps(&have)); err != nil {
		return err
	}
	if dumpable == 1 {
		raw(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0, 0, 0, 0)
	}
	var got credentials
	if err := got.read(); err != nil {
		return err
	}
	if !c.equal(&got) {
		return errCreds
	}
	return nil
}

// adoptIDs sets bounding set, groups and ids with all capabilities kept.
func (c *credentials) adoptIDs(have *credentials) error {
	for i := range uintptr(have.lastCapacity) {
		if (have.bounding&^c.bounding)>>i&1 != 0 {
			if err := call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, i); err != nil {
				return fmt.Errorf("bounding set: %w", err)
			}
		}
	}
	if !slices.Equal(c.groups, have.groups) {
		var p uintptr
		if len(c.groups) > 0 {
			p = uintptr(unsafe.Pointer(&c.groups[0]))
		}
		if err := call(unix.SYS_SETGROUPS, uintptr(len(c.groups)), p); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
	}
	if c.uids == have.uids && c.gids == have.gids {
		return nil
	}
	keepCaps(have.secure)
	id := func(v uint32) uintptr { return uintptr(v) }
	if err := call(unix.SYS_SETRESGID, id(c.gids[0]), id(c.gids[1]), id(c.gids[2])); err != nil {
		return fmt.Errorf("group ids: %w", err)
	}
	raw(unix.SYS_SETFSGID, id(c.gids[3]), 0, 0, 0, 0, 0)
	if err := call(unix.SYS_SETRESUID, id(c.uids[0]), id(c.uids[1]), id(c.uids[2])); err != nil {
		return fmt.Errorf("user ids: %w", err)
	}
	raw(unix.SYS_SETFSUID, id(c.uids[3]), 0, 0, 0, 0, 0)
	return nil
}

// keepCaps lets a change of user ids leave the permitted capabilities alone, and
// with the right to say so the effective ones too.
func keepCaps(secure uint64) {
	if call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uintptr(secure|secureNoFixup|secureKeepCaps)) != nil {
		raw(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, 0)
	}
}

// adoptCaps sets capabilities, securebits and no_new_privs.
func (c *credentials) adoptCaps(have *credentials) error {
	all := c.caps
	for i := range all {
		all[i].Permitted, all[i].Effective = have.caps[i].Permitted, have.caps[i].Permitted
	}
	if err := capset(&all); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	raw(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0)
	for i := range uintptr(have.lastCapacity) {
		if c.ambient>>i&1 != 0 {
			if err := call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, i); err != nil {
				return fmt.Errorf("ambient capabilities: %w", err)
			}
		}
	}
	if call(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uintptr(c.secure)) != nil {
		raw(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, uintptr(c.secure/secureKeepCaps&1), 0, 0, 0, 0)
	}
	if err := capset(&c.caps); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if c.noNewPrivs {
		return call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
	}
	return nil
}

func capset(s *capSets) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capset(&hdr, &s[0])
}
