package loader

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Options are what Open and Map need to know beyond execve(2)'s arguments. The zero value is a plain execve.
type Options struct {
	// At makes it execveat(2).
	At *At
	// StackLimit is the program's RLIMIT_STACK in bytes, which bounds argv and env; 0 asks the host for the monitor's.
	StackLimit uint64
	// NoRandomize leaves out the random gap on the initial stack (personality ADDR_NO_RANDOMIZE).
	NoRandomize bool
	// TextBusy also refuses a file that somebody has open for writing, with ETXTBSY, as execve does. It costs 15 µs a
	// file, and needs Linux 6.14: an older host does not tell.
	TextBusy bool
	// OpenFile opens a file for the loader, as openat(2); nil is openat itself. A monitor whose other threads share the
	// descriptor table with the payload gives one that returns descriptors out of the payload's reach.
	OpenFile func(dirfd int, path string, flags int) (fd int, err error)
	// HostPath gives the name by which the host finds what the payload means by path, wherever a file is named: by the
	// caller, in a #! line, in PT_INTERP. /proc/self/exe, for one, is the monitor's on the host. Nil changes nothing.
	HostPath func(path string) string
	// Host has the auxiliary values that come from the host; nil reads them.
	Host *HostAuxv
}

// At has the further arguments of execveat(2).
type At struct {
	Dirfd int
	Flags int // AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
}

// Program is a program that can be mapped. It holds its files open until Close.
type Program struct {
	Filename  string   // the path given to execve: AT_EXECFN, and the source of comm
	Exe       string   // the path of the ELF file that runs, as named: the last interpreter's for a script
	Argv, Env []string // as the program sees them: rewritten for a script
	ExecStack bool     // PT_GNU_STACK asks for an executable stack

	exec, interp *image
	opts         Options
}

// image is one ELF file to map.
type image struct {
	*layout
	*file
	header
	name string
}

func (i *image) close() {
	if i != nil {
		i.file.close()
	}
}

// Open finds out whether path can be run with argv and env, and how. It changes nothing but the descriptors it opens,
// which the caller releases with Close. The error is always an *Error.
func Open(path string, argv, env []string, opts Options) (*Program, error) {
	p, f := open(path, argv, env, opts)
	if f == nil {
		return p, nil
	}
	err := f.at(path)
	if path == "" && opts.At != nil {
		err.Path = "file descriptor " + strconv.Itoa(opts.At.Dirfd)
	}
	return nil, err
}

func open(name string, argv, env []string, opts Options) (*Program, *fault) {
	o := &opener{open: opts.OpenFile, hostPath: opts.HostPath, textBusy: opts.TextBusy}
	if o.hostPath == nil {
		o.hostPath = func(path string) string { return path }
	}
	if o.open == nil {
		o.open = func(dirfd int, path string, flags int) (int, error) { return unix.Openat(dirfd, path, flags, 0) }
	}
	dirfd, at := unix.AT_FDCWD, 0
	if opts.At != nil {
		dirfd, at = opts.At.Dirfd, opts.At.Flags
	}
	if at&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return nil, faultf(unix.EINVAL, "has unknown execveat flags %#x", at)
	}
	f, bad := o.exec(dirfd, name, at)
	if bad != nil {
		return nil, notFound(bad)
	}
	p, bad := build(o, f, name, argv, env, opts)
	if bad != nil {
		return nil, bad
	}
	return p, nil
}

// build takes over f, the file that was named.
func build(o *opener, f *file, name string, argv, env []string, opts Options) (*Program, *fault) {
	defer func() { f.close() }()
	filename, unreachable := execName(name, opts.At)
	limit := opts.StackLimit
	if limit == 0 {
		limit = hostStackLimit()
	}
	a, bad := newArgs(filename, argv, env, limit)
	if bad != nil {
		return nil, bad
	}
	exe := filename
	for depth := 0; isScript(f.head); depth++ {
		if unreachable {
			return nil, faultf(unix.ENOENT, "is a script on a close-on-exec descriptor, which its interpreter could not open: clear FD_CLOEXEC")
		}
		next, bad := script(o, f, a, exe, depth)
		if bad != nil {
			return nil, bad
		}
		f.close()
		f, exe = next.file, next.name
	}
	p := &Program{Filename: filename, Exe: exe, Argv: a.argv, Env: a.env, opts: opts}
	if bad := p.link(o, f); bad != nil {
		p.interp.close()
		if exe != filename {
			bad = bad.within("its #! interpreter %s ", show(exe))
		}
		return nil, bad
	}
	f = nil // p's now
	return p, nil
}

// script opens the interpreter of the script f, called name, and rewrites the arguments.
func script(o *opener, f *file, a *args, name string, depth int) (*image, *fault) {
	line, bad := parseShebang(f.head)
	if bad == nil {
		bad = a.rewrite(line, name)
	}
	if bad != nil {
		if depth > 0 {
			bad = bad.within("its #! interpreter %s ", show(name))
		}
		return nil, bad
	}
	interp, bad := o.interp(line.interp)
	if bad != nil {
		bad = badScriptInterp(line.interp, bad)
		if depth > 0 {
			bad = bad.within("its #! interpreter %s: ", show(name))
		}
		return nil, bad
	}
	if depth == maxScripts {
		interp.close()
		return nil, faultf(unix.ELOOP, "is a script whose interpreter is a script, and so on: %d at most", maxScripts)
	}
	return &image{file: interp, name: line.interp}, nil
}

func badScriptInterp(interp string, bad *fault) *fault {
	switch {
	case bad.errno == unix.ENOENT && len(interp) > 0 && interp[len(interp)-1] == '\r':
		return faultf(bad.errno, "has a #! line with a DOS line ending, so it looks for %s: convert it (sed -i 's/\\r$//')", show(interp))
	case bad.errno == unix.ENOENT:
		return faultf(bad.errno, "its #! line names the interpreter %s, which does not exist: install it or correct the line", show(interp))
	}
	return bad.within("its #! interpreter %s ", show(interp))
}

// execName is Linux's bprm->filename. unreachable: it goes through a descriptor that exec closes.
func execName(name string, at *At) (filename string, unreachable bool) {
	if at == nil || at.Dirfd == unix.AT_FDCWD || path.IsAbs(name) {
		return name, false
	}
	filename = "/dev/fd/" + strconv.Itoa(at.Dirfd)
	if name != "" {
		filename += "/" + name
	}
	flags, err := unix.FcntlInt(uintptr(at.Dirfd), unix.F_GETFD, 0)
	return filename, err == nil && flags&unix.FD_CLOEXEC != 0
}

func hostStackLimit() uint64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &r) != nil {
		return 0
	}
	return r.Cur
}

// notFound marks the fault of the file that was named itself.
func notFound(f *fault) *fault {
	f.missing = f.errno == unix.ENOENT
	return f
}

// Comm is the thread name the program starts with: the last component of Filename, at most 15 bytes.
func (p *Program) Comm() string {
	name := p.Filename[strings.LastIndexByte(p.Filename, '/')+1:]
	return name[:min(len(name), 15)]
}

// Interp is the path of the ELF interpreter, "" for a static program.
func (p *Program) Interp() string {
	if p.interp == nil {
		return ""
	}
	return p.interp.name
}

// Fd is the open file of the program (what /proc/PID/exe names); it is the Program's to close.
func (p *Program) Fd() int { return p.exec.fd }

// SetID says that the file has a set-uid or set-gid bit, which has no effect here.
func (p *Program) SetID() bool {
	const sgidExec = unix.S_ISGID | unix.S_IXGRP
	return p.exec.mode&unix.S_ISUID != 0 || p.exec.mode&sgidExec == sgidExec
}

// Close closes the files. The mappings of Map stay.
func (p *Program) Close() {
	p.exec.close()
	p.interp.close()
}
