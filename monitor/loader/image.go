package loader

import "golang.org/x/sys/unix"

// link makes f the program's image and opens and plans its ELF interpreter. The order of the checks is Linux's, since it
// decides which errno a file with several faults gives. On a fault p.interp may be open; f stays the caller's.
func (p *Program) link(o *opener, f *file) *fault {
	if !isELF(f.head) {
		return notELF(f)
	}
	h, bad := parseHeader(f.head)
	if bad == nil {
		bad = h.checkType()
	}
	if bad != nil {
		return bad
	}
	phdrs, bad := readPhdrs(f, h)
	if bad != nil {
		return bad
	}
	var interpPhdrs []phdr
	if name, ok, bad := interpName(f, phdrs); bad != nil {
		return bad
	} else if ok {
		if interpPhdrs, bad = p.openInterp(o, name); bad != nil {
			return bad
		}
	}
	p.ExecStack = execStack(phdrs)
	l, bad := plan(h, phdrs, f.size)
	if bad != nil {
		return bad
	}
	p.exec = &image{layout: l, file: f, header: h, name: p.Exe}
	f.head = nil
	if p.interp == nil {
		return checkEntry(p.exec)
	}
	return p.planInterp(interpPhdrs)
}

func notELF(f *file) *fault {
	if len(f.head) == 0 {
		return faultf(unix.ENOEXEC, "is empty: copy or build it again")
	}
	return faultf(unix.ENOEXEC, "is neither an ELF program nor a script that begins with #!; if it is a shell script, put #!/bin/sh in its first line")
}

func readPhdrs(f *file, h header) ([]phdr, *fault) {
	table, ok := f.bytes(h.phoff, uint64(h.phnum)*phdrSize)
	if !ok {
		return nil, faultf(unix.ENOEXEC, "is truncated: its program headers (%d at offset %#x) are beyond its end (%#x bytes); copy or build it again",
			h.phnum, h.phoff, f.size)
	}
	return parsePhdrs(table), nil
}

// interpName is the content of the first PT_INTERP.
func interpName(f *file, phdrs []phdr) (name string, ok bool, bad *fault) {
	for i := range phdrs {
		p := &phdrs[i]
		if p.typ != ptInterp {
			continue
		}
		if p.filesz > maxInterp || p.filesz < 2 {
			return "", false, faultf(unix.ENOEXEC, "has an interpreter name of %d bytes (PT_INTERP): the ELF file is damaged; link it again", p.filesz)
		}
		b, read := f.bytes(p.off, p.filesz)
		if !read {
			return "", false, faultf(unix.EIO, "is truncated: its interpreter's name (PT_INTERP) is beyond its end; copy or build it again")
		}
		if b[len(b)-1] != 0 {
			return "", false, faultf(unix.ENOEXEC, "has an interpreter name (PT_INTERP) without its terminating NUL; link it again")
		}
		return cString(b), true, nil
	}
	return "", false, nil
}

// execStack is the x86-64 rule since Linux 5.8: only PT_GNU_STACK with PF_X makes the stack executable; the last one counts.
func execStack(phdrs []phdr) bool {
	exec := false
	for i := range phdrs {
		if phdrs[i].typ == ptGNUStack {
			exec = phdrs[i].flags&pfX != 0
		}
	}
	return exec
}

// openInterp opens the ELF interpreter and reads its headers into p.interp.
func (p *Program) openInterp(o *opener, name string) ([]phdr, *fault) {
	f, bad := o.interp(name)
	if bad != nil {
		if bad.errno == unix.ENOENT {
			return nil, faultf(bad.errno, "needs the ELF interpreter %s, which does not exist: %s", show(name), missingInterp(name))
		}
		return nil, bad.within("its ELF interpreter %s ", show(name))
	}
	p.interp = &image{file: f, name: name}
	whose := func(f *fault, errno unix.Errno) *fault {
		f.errno = errno
		return f.within("its ELF interpreter %s ", show(name))
	}
	switch {
	case len(f.head) < ehdrSize:
		return nil, whose(faultf(0, "is truncated: install it again"), unix.EIO)
	case !isELF(f.head):
		return nil, whose(faultf(0, "is not an ELF file: install it again"), unix.ELIBBAD)
	}
	h, bad := parseHeader(f.head)
	if bad != nil {
		return nil, whose(bad, unix.ELIBBAD)
	}
	phdrs, bad := readPhdrs(f, h)
	if bad != nil {
		return nil, whose(bad, unix.ELIBBAD)
	}
	p.interp.header = h
	return phdrs, nil
}

func (p *Program) planInterp(phdrs []phdr) *fault {
	i := p.interp
	i.head = nil
	bad := i.checkType()
	if bad != nil {
		bad.errno = unix.ELIBBAD
	} else {
		i.layout, bad = plan(i.header, phdrs, i.size)
	}
	if bad == nil {
		bad = checkEntry(i)
	}
	if bad != nil {
		bad.fatal = true
		return bad.within("its ELF interpreter %s ", show(i.name))
	}
	if e := p.exec; e.typ == etExec && i.typ == etExec && e.low < i.high && i.low < e.high {
		return fatalf(unix.ENOMEM, "has an ELF interpreter, %s, linked to the same addresses: link one of them elsewhere", show(i.name))
	}
	return nil
}

// checkEntry refuses an entry point that cannot be an address. An entry outside the segments is the program's own
// SIGSEGV, as on Linux.
func checkEntry(i *image) *fault {
	if i.entry >= taskSize {
		return fatalf(unix.EINVAL, "has its entry point at %#x, outside the address space; link it again", i.entry)
	}
	return nil
}
