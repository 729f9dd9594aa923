package signal

// Sigreturn is rt_sigreturn(2): it takes the frame that the stack pointer stands behind apart, with Linux's checks.
// Whatever the payload put there, the registers stay those of CPL 3 and the FP image is one that KVM accepts.
//
// Done: all registers, rcx, r11 and rax among them, are to be loaded as they are; there is nothing to restart.
// FP need not have been read before. The caller must not look at the system call's result.
func (c *Context) Sigreturn() Outcome {
	r := c.Regs
	base := r.Rsp - 8 // the handler's RET has taken pretcode
	f := &c.frame
	// Linux reads mask and flags first: these come into force even if the rest is bad.
	if c.Mem.CopyIn(f[frameSigmask:frameInfo], base+frameSigmask) != 0 ||
		c.Mem.CopyIn(f[frameUC:frameUCLink], base+frameUC) != 0 {
		return c.badFrame()
	}
	c.Thread.SetBlocked(Set(f.get(frameSigmask)))
	if c.Mem.CopyIn(f[frameAltSP:frameGPRs], base+frameAltSP) != 0 {
		return c.badFrame()
	}
	// Errors other than EFAULT are passed over: a handler on the alternate stack cannot change it so.
	c.Thread.SetAltStack(AltStack{Base: f.get(frameAltSP), Size: f.get(frameAltSize), Flags: f.get32(frameAltFlags)}, r.Rsp)
	if c.Mem.CopyIn(f[frameGPRs:frameReserved], base+frameGPRs) != 0 {
		return c.badFrame()
	}
	f.getRegs(r)
	sel, fault, bad := selectors{cs: f.get16(frameCS), ss: f.get16(frameSS)}.afterReturn(f.get(frameUC))
	c.Thread.sel = sel
	if !c.restoreFP(f.get(frameFPState)) {
		return c.badFrame()
	}
	if bad {
		return c.fault(fault)
	}
	return c.finish()
}

func (c *Context) badFrame() Outcome {
	c.Regs.Rax = 0
	return c.forced()
}
