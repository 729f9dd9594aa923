package hostcall

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// marker is the name of the environment entry that, if it comes first, makes the entry stand aside: see Plain.
const marker = "KMDEVRT0"

const markPlain = marker + "=plain"

// startAgain executes a copy of this program whose entry point is ours. It returns only if that fails.
func startAgain() error {
	if env, err := readStrings("/proc/self/environ"); err != nil {
		return err
	} else if len(env) > 0 && strings.HasPrefix(env[0], marker) {
		return errors.New("hostcall: Init after Plain, or " + marker + " is set in the environment: unset it")
	}
	fd, err := entryCopy()
	if err != nil {
		return err
	}
	return execute("/proc/self/fd/"+decimal(fd), Args(), Environ())
}

// entryCopy returns a memfd, close-on-exec, that holds this program with our entry point.
func entryCopy() (int, error) {
	fd, err := unix.MemfdCreate("kmdev", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // Linux before 6.3
		fd, err = unix.MemfdCreate("kmdev", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, fileError("create", "a memfd that can be executed (sysctl vm.memfd_noexec? else link with -E kmdev_rt0)", err)
	}
	if err := copyFile(fd, "/proc/self/exe"); err != nil {
		return -1, err
	}
	if err := setEntry(fd); err != nil {
		return -1, err
	}
	return fd, nil
}

// Places in a 64-bit ELF file (elf(5)): the header, and program headers of phentsize bytes.
const (
	ehdrSize    = 64
	offType     = 16
	offEntry    = 24
	offPhoff    = 32
	offPhnum    = 56
	phentsize   = 56
	phOffset    = 8
	phVaddr     = 16
	phFilesz    = 32
	typeLoad    = 1
	typeExecFix = 2 // ET_EXEC
)

// setEntry makes kmdev_rt0 the entry point of the program in fd, which must be this one, and has it go on at the one
// before.
func setEntry(fd int) error {
	var head [4096]byte
	if n, err := unix.Pread(fd, head[:], 0); err != nil || n < ehdrSize {
		return fileError("read", "the program's ELF header", err)
	}
	le := binary.LittleEndian
	if le.Uint16(head[offType:]) != typeExecFix {
		return errors.New("hostcall: a position-independent program has to be linked with -E kmdev_rt0")
	}
	entry, variable := entryAddresses()
	offset, ok := fileOffset(head[:], uint64(variable))
	if !ok {
		return errors.New("hostcall: /proc/self/exe is not this program")
	}
	var word [8]byte
	le.PutUint64(word[:], le.Uint64(head[offEntry:]))
	if _, err := unix.Pwrite(fd, word[:], int64(offset)); err != nil {
		return fileError("write", "a memfd", err)
	}
	le.PutUint64(word[:], uint64(entry))
	if _, err := unix.Pwrite(fd, word[:], offEntry); err != nil {
		return fileError("write", "a memfd", err)
	}
	return nil
}

// fileOffset finds a virtual address in the file whose start is head.
func fileOffset(head []byte, vaddr uint64) (uint64, bool) {
	le := binary.LittleEndian
	at, n := le.Uint64(head[offPhoff:]), uint64(le.Uint16(head[offPhnum:]))
	if at > uint64(len(head)) || n > (uint64(len(head))-at)/phentsize {
		return 0, false
	}
	for ph := head[at:]; n > 0; n, ph = n-1, ph[phentsize:] {
		start, size := le.Uint64(ph[phVaddr:]), le.Uint64(ph[phFilesz:])
		if le.Uint32(ph) == typeLoad && vaddr >= start && vaddr-start < size {
			return vaddr - start + le.Uint64(ph[phOffset:]), true
		}
	}
	return 0, false
}

// Plain makes this process an ordinary one, with the signal mask, ignored signals and environment that it was started
// with: for front ends, which want Ctrl-C to work, os/signal, and children that don't inherit a full mask. It executes
// the program again with the entry standing aside, and returns nil the second time, or at once in a binary without the
// entry. Called first thing in main, before Init and instead of it.
func Plain() error {
	if startVector == 0 {
		if v, ok := unix.Getenv(marker); ok && marker+"="+v == markPlain {
			return unix.Unsetenv(marker)
		}
		return nil
	}
	for sig := 1; sig <= numSignals; sig++ {
		if inheritedIgnored&(1<<(sig-1)) != 0 {
			rtSigaction(sig, &sigaction{handler: sigIgn}, nil)
		}
	}
	runtime.LockOSThread()
	setMask(inheritedMask)
	return execute("/proc/self/exe", Args(), append([]string{markPlain}, Environ()...))
}

// execute replaces this process. It returns only if that fails.
func execute(path string, args, env []string) error {
	if len(args) == 0 {
		return errors.New("hostcall: started without argv[0]")
	}
	return fileError("execute", path, unix.Exec(path, args, env))
}
