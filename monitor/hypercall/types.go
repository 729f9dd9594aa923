package hypercall

// Type describes one argument or result. It is a constant made of a kind, its
// direction, the argument that counts its elements, a structure and a flag
// set:
//
//	Out | tByte | by2     buffer written by the kernel, a[2] bytes long
//	In | Null | tTimespec pointer to one timespec, or NULL
//	Flags | sOpen         integer made of the flags named by set sOpen
type Type uint64

// Kind says how an argument is passed and shown.
type Kind uint8

// Kinds. Those up to Addr are integers; from FD on they mean something to the
// engine.
const (
	None     Type = iota // no argument or result
	Int                  // C int, signed decimal
	Uint                 // unsigned int
	Long                 // long, signed decimal
	Ulong                // unsigned long, hexadecimal
	Size                 // size_t or a count of bytes
	Off                  // file offset (loff_t)
	Mode                 // file mode, octal
	Dev                  // device number
	UID                  // user id; -1 means unchanged
	GID                  // group id
	PID                  // process id of the host
	TID                  // thread id of the host
	Sig                  // signal number
	Flags                // or of the flags of a Set
	Enum                 // one value of a Set
	Clock                // clockid_t
	Timer                // POSIX timer id
	IPC                  // System V IPC key or id
	Key                  // key serial or special keyring
	WD                   // inotify watch descriptor
	Cookie               // opaque value handed back unchanged
	Ignored              // the kernel does not look at it
	Addr                 // payload address; a range of a[by] bytes, not dereferenced
	FD                   // descriptor
	DirFD                // descriptor or AT_FDCWD
	Path                 // NUL-terminated path, resolved by the kernel
	Str                  // NUL-terminated string that is no path
	Ptr                  // pointer to one structure, or to a[by] elements
	Sockaddr             // struct sockaddr of a[by] bytes (In) or *a[by] bytes (Out)
	SigSet               // sigset_t of a[by] bytes
	FDSet                // fd_set of a[by] bits
	IOVec                // array of a[by] iovec
	Msghdr               // struct msghdr
	Mmsghdr              // array of a[by] mmsghdr
	StrArray             // NULL-terminated array of strings (argv)
	Any                  // integer or pointer; another argument tells which
	kindMask = 0xff
)

// Directions and properties of a pointer.
const (
	In    Type = 1 << (8 + iota) // the kernel reads it
	Out                          // the kernel writes it
	Null                         // NULL is allowed and means "none"
	Clip                         // the kernel writes no more than its result says: a length beyond the window is cut, not an error
	Link                         // a path whose last component is followed if it is a symbolic link
	InOut = In | Out
)

// The argument that counts a pointer's elements.
const (
	by0 Type = (1 + iota) << 16
	by1
	by2
	by3
	by4
	by5
	byShift = 16
	byMask  = 0xf
)

const (
	structShift = 24
	structMask  = 0xff
	setShift    = 32
	setMask     = 0xff
)

// Kind returns the kind constant, to be compared with Int, FD, Path …
func (t Type) Kind() Type { return t & kindMask }

// Reads tells whether the kernel reads through the pointer.
func (t Type) Reads() bool { return t&In != 0 }

// Writes tells whether the kernel writes through the pointer.
func (t Type) Writes() bool { return t&Out != 0 }

// Nullable tells whether a NULL pointer is allowed.
func (t Type) Nullable() bool { return t&Null != 0 }

// Follows tells whether a path's last component is followed through symbolic
// links whatever the call's flags say.
func (t Type) Follows() bool { return t&Link != 0 }

// By returns the index of the argument that counts the elements, or -1.
func (t Type) By() int { return int(t>>byShift&byMask) - 1 }

// Struct returns the name and size in bytes of what a Ptr points to.
func (t Type) Struct() (name string, size int) {
	s := &structs[t>>structShift&structMask]
	return s.name, int(s.size)
}

// Set returns the name of the flag set of a Flags or Enum argument, or "".
func (t Type) Set() string { return setNames[t>>setShift&setMask] }

// Pointer tells whether the argument is an address that the kernel follows.
func (t Type) Pointer() bool {
	k := t.Kind()
	return k >= Path && k <= StrArray
}

// narrow tells whether the kernel looks at the low 32 bits only.
func (t Type) narrow() bool {
	switch t.Kind() {
	case Int, Uint, FD, DirFD, Mode, UID, GID, PID, TID, Sig, Clock, Timer, IPC, Key, WD:
		return true
	}
	return false
}

// Arg is one argument of a row.
type Arg struct {
	Name string
	Type Type
}

// A is the argument list of a row.
type A = []Arg
