package debug

// kind says what a frame holds. Requests go to the monitor and are answered in order with kindReply and the same id;
// hello and reports come unasked with id 0, hello once and first.
type kind uint8

const (
	kindHello kind = iota + 1
	kindReport
	kindReply
	kindThreads
	kindResume
	kindInterrupt
	kindDetach
	kindDisconnect
	kindRegs
	kindSetRegs
	kindXsave
	kindSetXsave
	kindSiginfo
	kindSetSiginfo
	kindRead
	kindWrite
	kindVMAs
	kindAuxv
	kindInsert
	kindRemove
	kindPass
	kindCatch
	kindThreadEvents
	kindKill
)

// The bodies of requests and replies. A type serves for every message of its shape.
type (
	empty       struct{}
	tidBody     struct{ tid int }
	setBody     struct{ set uint64 }
	boolBody    struct{ on bool }
	bytesBody   struct{ data []byte }
	threadsBody struct{ threads []Thread }
	actionsBody struct{ actions []Action }
	vmasBody    struct{ vmas []VMA }
	bpBody      struct{ bp Breakpoint }
	catchBody   struct {
		all bool
		nrs []int
	}
	regsBody struct {
		tid  int
		regs Regs
	}
	xsaveBody struct {
		tid  int
		area []byte
	}
	siginfoBody struct {
		tid  int
		info Siginfo
	}
	// memoryBody asks for n bytes, or carries data to write.
	memoryBody struct {
		addr uint64
		n    uint32
		data []byte
	}
	// memoryReply has the bytes read, or the number written, and whether a hole ended it.
	memoryReply struct {
		data []byte
		n    uint32
		hole bool
	}
)

func (*empty) fields(*codec)           {}
func (b *tidBody) fields(c *codec)     { c.num(&b.tid) }
func (b *setBody) fields(c *codec)     { c.u64(&b.set) }
func (b *boolBody) fields(c *codec)    { c.boolean(&b.on) }
func (b *bytesBody) fields(c *codec)   { c.bytes(&b.data) }
func (b *threadsBody) fields(c *codec) { list(c, &b.threads, threadFields) }
func (b *actionsBody) fields(c *codec) { list(c, &b.actions, actionFields) }
func (b *vmasBody) fields(c *codec)    { list(c, &b.vmas, vmaFields) }
func (b *catchBody) fields(c *codec)   { c.boolean(&b.all); list(c, &b.nrs, (*codec).num) }
func (b *regsBody) fields(c *codec)    { c.num(&b.tid); regsFields(c, &b.regs) }
func (b *xsaveBody) fields(c *codec)   { c.num(&b.tid); c.bytes(&b.area) }
func (b *siginfoBody) fields(c *codec) { c.num(&b.tid); c.fixed(b.info[:]) }
func (b *memoryBody) fields(c *codec)  { c.u64(&b.addr); c.u32(&b.n); c.bytes(&b.data) }
func (b *memoryReply) fields(c *codec) { c.bytes(&b.data); c.u32(&b.n); c.boolean(&b.hole) }

func (b *bpBody) fields(c *codec) {
	c.u8((*uint8)(&b.bp.Kind))
	c.u64(&b.bp.Addr)
	c.u64(&b.bp.Size)
}

func (h *Hello) fields(c *codec) {
	c.u32(&h.Version)
	c.num(&h.Pid)
	c.str(&h.Exe)
	list(c, &h.Args, (*codec).str)
	c.u64(&h.Window)
	c.u64(&h.Size)
	c.u64(&h.XCR0)
	c.u32(&h.Xsave.Size)
	list(c, &h.Xsave.Components, func(c *codec, x *XsaveComponent) {
		c.u8(&x.Bit)
		c.u32(&x.Offset)
		c.u32(&x.Size)
	})
	c.boolean(&h.Waits)
}

func (r *Report) fields(c *codec) {
	c.u8((*uint8)(&r.Kind))
	c.num(&r.Tid)
	c.u32(&r.Status)
	stopFields(c, &r.Stop)
	regsFields(c, &r.Regs)
}

func stopFields(c *codec, s *Stop) {
	c.u8((*uint8)(&s.Reason))
	c.fixed(s.Siginfo[:])
	c.u64(&s.Addr)
	c.u8((*uint8)(&s.Watch))
	c.num(&s.Syscall)
}

func threadFields(c *codec, t *Thread) {
	c.num(&t.Tid)
	c.boolean(&t.Parked)
	stopFields(c, &t.Stop)
}

func actionFields(c *codec, a *Action) {
	c.num(&a.Tid)
	c.u8((*uint8)(&a.Kind))
	c.num(&a.Signal)
	c.u64(&a.Start)
	c.u64(&a.End)
}

func vmaFields(c *codec, v *VMA) {
	c.u64(&v.Start)
	c.u64(&v.End)
	c.u8(&v.Prot)
	c.boolean(&v.Shared)
	c.u64(&v.Offset)
	c.u32(&v.Major)
	c.u32(&v.Minor)
	c.u64(&v.Inode)
	c.str(&v.Name)
}

func regsFields(c *codec, r *Regs) {
	for _, w := range []*uint64{&r.R15, &r.R14, &r.R13, &r.R12, &r.Rbp, &r.Rbx, &r.R11, &r.R10, &r.R9, &r.R8, &r.Rax,
		&r.Rcx, &r.Rdx, &r.Rsi, &r.Rdi, &r.OrigRax, &r.Rip, &r.Cs, &r.Eflags, &r.Rsp, &r.Ss, &r.FsBase, &r.GsBase,
		&r.Ds, &r.Es, &r.Fs, &r.Gs} {
		c.u64(w)
	}
}

// failure is an error on its way across the channel.
type failure struct {
	sentinel uint8 // index in sentinels + 1; 0 for none
	errno    uint32
	text     string
}

func (f *failure) fields(c *codec) {
	c.u8(&f.sentinel)
	c.u32(&f.errno)
	c.str(&f.text)
}
