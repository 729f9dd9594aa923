package memory

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestSlowMemory: what may have to wait for a page does so without the address space's lock, for the page may come from
// another thread of the payload.
func TestSlowMemory(t *testing.T) {
	const size = 4 * pageSize
	for _, c := range []struct {
		name string
		do   func(as *AddressSpace, gva uint64) unix.Errno
	}{
		{"mlock", func(as *AddressSpace, gva uint64) unix.Errno { return errno(as.Mlock(gva, size)) }},
		{"mlockall", func(as *AddressSpace, _ uint64) unix.Errno { return errno(as.Mlockall(unix.MCL_CURRENT)) }},
		{"madvise", func(as *AddressSpace, gva uint64) unix.Errno {
			return errno(as.Madvise(gva, size, unix.MADV_POPULATE_WRITE))
		}},
	} {
		as, _ := newSpace(t)
		a := as.mustMap(t, 0, size, rw, private|unix.MAP_NORESERVE)
		as.Madvise(a, size, unix.MADV_DONTNEED) // small mappings are populated at once
		slow := waitAt(t, a, size)
		before := lockedKB(t)
		done := make(chan unix.Errno)
		go func() { done <- c.do(as, a) }()
		slow.wait()
		if free := as.mu.TryLock(); free {
			as.mu.Unlock()
		} else {
			t.Errorf("%s holds the lock while it waits for a page", c.name)
		}
		slow.resolve()
		if e := <-done; e != 0 {
			t.Errorf("%s: %v", c.name, e)
		}
		if c.name == "mlock" || c.name == "mlockall" {
			if v, _ := as.Lookup(a); v.Flags&lockFlags != Locked || lockedKB(t)-before != size/1024 {
				t.Errorf("%s: flags %#x, %d KiB locked", c.name, v.Flags, lockedKB(t)-before)
			}
		}
		as.Close()
	}
}

// TestForceUnlocked: the debugger's accesses wait for a page without the lock, too. (A userfaultfd does not hold them up.)
func TestForceUnlocked(t *testing.T) {
	as, _ := newSpace(t)
	a := as.mustMap(t, 0, pageSize, unix.PROT_NONE, private)
	calls := 0
	for _, k := range []forceKind{forceRead, forceWrite} {
		mem := k.mem
		k.mem = func(fd int, p []byte, off int64) (int, error) {
			calls++
			if !as.mu.TryLock() {
				t.Error("under the lock")
				return mem(fd, p, off)
			}
			as.mu.Unlock()
			return mem(fd, p, off)
		}
		var b [10]byte
		if n, err := as.force(a+5, b[:], k); n != len(b) || err != nil {
			t.Errorf("%d %v", n, err)
		}
	}
	if calls != 2 {
		t.Errorf("/proc/self/mem was used %d times", calls)
	}
}
