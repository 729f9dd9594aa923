package loader

import "golang.org/x/sys/unix"

// Handed is a Program that another process has opened, for Adopt: execve in the payload validates the program before the
// new monitor exists, which then runs exactly those files.
type Handed struct {
	Filename, Exe string
	Argv, Env     []string
	// Exec and Interp are the open files, Interp -1 without an ELF interpreter.
	Exec, Interp int
}

// Files are the descriptors of the program and of its ELF interpreter, -1 if there is none. They are p's to close.
func (p *Program) Files() (exec, interp int) {
	if p.interp == nil {
		return p.exec.fd, -1
	}
	return p.exec.fd, p.interp.fd
}

// Adopt is Open for files that Open has accepted elsewhere; it takes them over. Of opts, NoRandomize and Host count. The
// error is always an *Error; a file may have changed meanwhile.
func Adopt(h Handed, opts Options) (*Program, error) {
	f, bad := adoptFile(h.Exec)
	if bad != nil {
		return nil, bad.at(h.Filename)
	}
	p := &Program{Filename: h.Filename, Exe: h.Exe, Argv: h.Argv, Env: h.Env, opts: opts}
	o := &opener{adopt: func() (*file, *fault) { return adoptFile(h.Interp) }}
	if bad := p.link(o, f); bad != nil {
		f.close()
		p.interp.close()
		return nil, bad.at(h.Filename)
	}
	return p, nil
}

func adoptFile(fd int) (*file, *fault) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, faultf(toErrno(err), "cannot be examined: %s", toErrno(err))
	}
	f := &file{fd: fd, size: st.Size, mode: st.Mode}
	if bad := f.readHead(); bad != nil {
		f.close()
		return nil, bad
	}
	return f, nil
}
