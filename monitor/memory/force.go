package memory

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ForceRead reads payload memory for a debugger, whatever its protection, and gives how much it could read.
func (as *AddressSpace) ForceRead(gva uint64, p []byte) (int, error) {
	return as.force(gva, p, func(fd int, p []byte, off int64) (int, error) { return unix.Pread(fd, p, off) })
}

// ForceWrite writes payload memory for a debugger, whatever its protection, and gives how much it could write. A private
// page gets a copy of its own first, so a file never changes; a shared mapping that the payload can't write to is refused,
// for the write would go to the file.
func (as *AddressSpace) ForceWrite(gva uint64, p []byte) (int, error) {
	return as.force(gva, p, func(fd int, p []byte, off int64) (int, error) { return unix.Pwrite(fd, p, off) })
}

// force moves p through /proc/self/mem, which overrides protections (FOLL_FORCE) but not holes. A page that it copies on
// write is another one for KVM too, by an MMU notifier.
func (as *AddressSpace) force(gva uint64, p []byte, move func(int, []byte, int64) (int, error)) (done int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	fd, err := as.mem()
	if err != nil {
		return 0, err
	}
	for done < len(p) {
		at := gva + uint64(done)
		v := as.vmas.find(at)
		if v == nil {
			return done, fmt.Errorf("no memory at %#x: %w", at, unix.EFAULT)
		}
		n := min(uint64(len(p)-done), v.End-at)
		m, err := move(fd, p[done:done+int(n)], int64(host(at)))
		done += max(m, 0)
		if err != nil || m <= 0 {
			return done, fmt.Errorf("memory at %#x can't be accessed: %w", gva+uint64(done), unix.EFAULT)
		}
	}
	return done, nil
}

// mem gives /proc/self/mem, opened at first use. as.mu is held.
func (as *AddressSpace) mem() (int, error) {
	if as.memFD >= 0 {
		return as.memFD, nil
	}
	fd, err := unix.Open("/proc/self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/proc/self/mem", Err: err}
	}
	if as.cfg.Relocate != nil {
		if fd, err = as.cfg.Relocate(fd); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	as.memFD = fd
	return fd, nil
}
