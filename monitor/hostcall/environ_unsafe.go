package hostcall

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const wordSize = unsafe.Sizeof(uintptr(0))

// Args is the argument vector that this process was started with.
func Args() []string {
	if startVector == 0 {
		args, _ := readStrings("/proc/self/cmdline")
		return args
	}
	argc := *(*uintptr)(unsafe.Pointer(startVector))
	return stringsAt(startVector+wordSize, int(argc))
}

// Environ is the environment that this process was started with, to the byte: in its order, with entries that repeat a
// name or have no '=', but without the entry that hands a state over. It is the payload's. os.Environ is not: the entry puts runtimeEnv before it.
func Environ() []string {
	if startVector == 0 {
		env, _ := readStrings("/proc/self/environ")
		return env
	}
	at := envAt()
	if (given != handoverPlace{}) {
		at += wordSize
	}
	return stringsAt(at, -1)
}

// envAt is where the environment's pointers begin.
func envAt() uintptr {
	return startVector + (*(*uintptr)(unsafe.Pointer(startVector))+2)*wordSize
}

// stringsAt reads n pointers to strings, or up to the null pointer.
func stringsAt(p uintptr, n int) (list []string) {
	for ; n != 0; n-- {
		s := *(**byte)(unsafe.Pointer(p))
		if s == nil {
			break
		}
		list = append(list, unix.BytePtrToString(s))
		p += wordSize
	}
	return list
}
