package hostcall

import (
	"strings"
	"syscall"
	"unsafe"
)

const wordSize = unsafe.Sizeof(uintptr(0))

// Args is the argument vector that this process was started with.
func Args() []string {
	if startVector == 0 {
		return commandLine()
	}
	argc := *(*uintptr)(unsafe.Pointer(startVector))
	return stringsAt(startVector+wordSize, int(argc))
}

// Environ is the environment that this process was started with, to the byte: in its order, with entries that repeat a name or have no '='. It is the
// payload's; os.Environ is not, for the entry puts runtimeEnv before it.
func Environ() []string {
	if startVector == 0 {
		env, _ := readEnviron()
		return withoutOurs(env)
	}
	argc := *(*uintptr)(unsafe.Pointer(startVector))
	return stringsAt(startVector+(argc+2)*wordSize, -1)
}

// stringsAt reads n pointers to strings, or up to the null pointer.
func stringsAt(p uintptr, n int) (list []string) {
	for ; n != 0; n-- {
		s := *(*uintptr)(unsafe.Pointer(p))
		if s == 0 {
			break
		}
		list = append(list, stringAt(s))
		p += wordSize
	}
	return list
}

// withoutOurs drops what startAgain has put before the environment.
func withoutOurs(env []string) []string {
	if len(env) > len(runtimeEnv) && strings.HasPrefix(env[0], marker+"=") {
		return env[1+len(runtimeEnv):]
	}
	return env
}

func readEnviron() ([]string, error) { return readStrings("/proc/self/environ") }

func commandLine() []string {
	args, _ := readStrings("/proc/self/cmdline")
	return args
}

// readStrings reads a file of strings that each end in a zero byte.
func readStrings(path string) ([]string, error) {
	text, err := readFile(path)
	if err != nil || text == "" {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00"), nil
}

// readFile reads a whole file of /proc.
func readFile(path string) (string, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", fileError("open", path, err)
	}
	defer syscall.Close(fd)
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return "", fileError("read", path, err)
		case n == 0:
			return string(all), nil
		default:
			all = append(all, buf[:n]...)
		}
	}
}

// readDir lists the names in a directory.
func readDir(path string) (names []string, err error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fileError("open", path, err)
	}
	defer syscall.Close(fd)
	buf := make([]byte, 4096)
	for {
		n, err := syscall.ReadDirent(fd, buf)
		if err != nil {
			return nil, fileError("read", path, err)
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = syscall.ParseDirent(buf[:n], -1, names)
	}
}

func fileError(op, path string, err error) error {
	if e, ok := err.(syscall.Errno); ok {
		return &Error{op + " " + path, e}
	}
	return err
}
