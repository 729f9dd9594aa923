package live

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"kmdev/target"
)

// directState says how payload memory is reached.
type directState int

const (
	directUntried directState = iota
	directWorks
	directRefused // by the host's rules: everything goes through the channel
)

// ReadMemory reads straight from the monitor's window. Holes of the payload are holes there.
func (p *Process) ReadMemory(addr uint64, buf []byte) (int, error) {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	want := buf[:p.clip(addr, len(buf))]
	n := 0
	if p.directly() {
		n = p.vmRead(addr, want)
		if n < len(want) {
			more, err := move(unix.Pread, p.mem, want[n:], p.window+addr+uint64(n)) // PROT_NONE too
			n += more
			if err != nil && !isHole(err) {
				return n, err
			}
		}
		p.breaks.mask(addr, want[:n])
	} else {
		var err error
		if n, err = p.client.ReadMemory(addr, want); err != nil && !errors.Is(err, unix.EFAULT) {
			return n, errorOf(err)
		}
	}
	return n, short(addr, n, len(buf))
}

// WriteMemory writes through protections. Bytes under a breakpoint are the monitor's business.
func (p *Process) WriteMemory(addr uint64, buf []byte) (int, error) {
	p.memMu.Lock()
	defer p.memMu.Unlock()
	want := buf[:p.clip(addr, len(buf))]
	if p.directly() && !p.breaks.overlaps(addr, len(want)) {
		n, err := move(unix.Pwrite, p.mem, want, p.window+addr)
		if n == len(want) || isHole(err) && n > 0 {
			return n, short(addr, n, len(buf))
		}
		want = want[n:]
		more, err := p.client.WriteMemory(addr+uint64(n), want) // shared read-only files: the monitor knows
		n += more
		if err != nil && !errors.Is(err, unix.EFAULT) {
			return n, errorOf(err)
		}
		return n, short(addr, n, len(buf))
	}
	n, err := p.client.WriteMemory(addr, want)
	p.breaks.wrote(addr, want[:n])
	if err != nil && !errors.Is(err, unix.EFAULT) {
		return n, errorOf(err)
	}
	return n, short(addr, n, len(buf))
}

// move reads or writes a file, as far as it goes. os.File forgets what it wrote before an error.
func move(call func(int, []byte, int64) (int, error), f *os.File, p []byte, at uint64) (done int, err error) {
	for done < len(p) {
		n, err := call(int(f.Fd()), p[done:], int64(at)+int64(done))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// clip gives how many of n bytes at addr are payload addresses.
func (p *Process) clip(addr uint64, n int) int {
	if addr >= p.size {
		return 0
	}
	return int(min(uint64(n), p.size-addr))
}

func short(addr uint64, n, want int) error {
	if n == want {
		return nil
	}
	return &target.MemoryError{Addr: addr + uint64(n)}
}

func memoryError(addr uint64, err error) error {
	if errors.Is(err, unix.EFAULT) {
		return &target.MemoryError{Addr: addr}
	}
	return errorOf(err)
}

// isHole: /proc/PID/mem answers EIO where nothing is mapped; io.EOF when the process is gone.
func isHole(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EFAULT) || errors.Is(err, io.EOF)
}

// directly opens /proc/PID/mem at the first use: whoever may do that may use process_vm_readv, too (ptrace(2), PTRACE_MODE_ATTACH).
func (p *Process) directly() bool {
	if p.direct == directUntried {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.info.Pid), os.O_RDWR, 0)
		p.mem, p.direct = f, directWorks
		if err != nil {
			p.direct = directRefused
		}
	}
	return p.direct == directWorks
}

// vmRead copies what it can get at host speed: whole pages up to the first that is not readable.
func (p *Process) vmRead(addr uint64, buf []byte) int {
	if len(buf) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}
	remote := []unix.RemoteIovec{{Base: uintptr(p.window + addr), Len: len(buf)}}
	n, err := unix.ProcessVMReadv(p.info.Pid, local, remote, 0)
	if err != nil {
		return 0
	}
	return n
}
