package signal

import "golang.org/x/sys/unix"

// Deliver enters the handler of act for the signal that info describes (x64_setup_rt_frame, handle_signal): it saves
// the thread in an rt_sigframe on the payload's stack, then sets mask, registers and a fresh FP state. Restart must have
// been applied. SA_RESETHAND is Take's.
func (c *Context) Deliver(act Action, info *Siginfo) Outcome {
	sig := info.Signo()
	frame, errno := c.setupFrame(act, info)
	if errno != 0 {
		if sig == int(unix.SIGSEGV) {
			return Outcome{Kind: Killed, Info: KernelInfo(sig)}
		}
		return c.forced()
	}
	r := c.Regs
	r.Rdi = uint64(sig)
	r.Rsi = frame + frameInfo
	r.Rdx = frame + frameUC
	r.Rax = 0 // for handlers declared without a prototype
	r.Rsp = frame
	r.Rip = act.Handler
	r.Rflags &^= flagDF | flagRF | flagTF
	resetFP(c.XState, c.FP)
	c.Thread.delivered(sig, act)
	return c.finish()
}

// delivered is the mask and the alternate stack of a thread whose handler is entered (signal_delivered).
func (t *ThreadState) delivered(sig int, act Action) {
	t.temporary = false
	t.sel = userSelectors
	s := t.blocked | act.Mask
	if act.Flags&SANoDefer == 0 {
		s = s.With(sig)
	}
	t.SetBlocked(s)
	if t.alt.Flags&SSAutoDisarm != 0 {
		t.alt = noAltStack
	}
}

// setupFrame writes the frame and returns its address. Nothing but payload memory changes.
func (c *Context) setupFrame(act Action, info *Siginfo) (uint64, unix.Errno) {
	if act.Flags&SARestorer == 0 {
		return 0, unix.EFAULT
	}
	fp, frame, ok := c.place(act)
	if !ok {
		return 0, unix.EFAULT
	}
	c.area = saveFP(c.area, c.XState, c.FP)
	if e := writeFP(c.Mem, fp, c.XState, c.area); e != 0 {
		return 0, e
	}
	f := &c.frame
	*f = sigframe{}
	c.fill(f, act, fp)
	end := frameInfo
	if act.Flags&SASigInfo != 0 {
		copy(f[frameInfo:], info[:])
		end = frameSize
	}
	for _, part := range [...][2]int{{framePretcode, frameAltFlags + 4}, {frameAltSize, frameReserved}, {frameSigmask, end}} {
		if e := c.Mem.CopyOut(frame+uint64(part[0]), f[part[0]:part[1]]); e != 0 {
			return 0, e
		}
	}
	return frame, 0
}

// place chooses the stack and the addresses of FP state and frame (get_sigframe). It fails where the frame would leave
// the alternate stack.
func (c *Context) place(act Action) (fp, frame uint64, ok bool) {
	alt := c.Thread.alt
	onAlt := alt.on(c.Regs.Rsp)
	sp := c.Regs.Rsp - redZone
	if act.Flags&SAOnStack != 0 && alt.status(sp) == 0 {
		sp = alt.Base + alt.Size
		onAlt = true
	}
	fp = (sp - fpFrameSize(c.XState)) &^ (fpAlign - 1)
	frame = (fp-frameSize)&^(frameAlign-1) - 8
	return fp, frame, !onAlt || alt.holds(frame)
}

// fill makes the frame's content, except siginfo.
func (c *Context) fill(f *sigframe, act Action, fp uint64) {
	t := c.Thread
	mask := uint64(t.maskToSave())
	f.put(framePretcode, act.Restorer)
	f.put(frameUC, t.sel.ucFlags())
	f.put(frameUCLink, 0)
	f.put(frameAltSP, t.alt.Base)
	f.put32(frameAltFlags, t.alt.Flags)
	f.put(frameAltSize, t.alt.Size)
	f.putRegs(c.Regs)
	f.put16(frameCS, t.sel.cs)
	f.put16(frameSS, t.sel.ss)
	f.put(frameErr, t.trap.Err)
	f.put(frameTrap, t.trap.Number)
	f.put(frameOldMask, mask)
	f.put(frameCR2, t.trap.CR2)
	f.put(frameFPState, fp)
	f.put(frameSigmask, mask)
}
