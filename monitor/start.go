package monitor

import (
	"fmt"
	"runtime"

	"kmdev/monitor/debug"
	"kmdev/monitor/hostcall"
	"kmdev/monitor/kvm"
	"kmdev/monitor/loader"
	"kmdev/monitor/memory"
	"kmdev/monitor/signal"
	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// image is the payload's address space as the loader fills it.
type image struct {
	m  *Machine
	as *memory.AddressSpace
}

var _ loader.Memory = image{}

func (i image) MapFile(addr, length uint64, prot int, fd int, off int64, fixed bool) (uint64, unix.Errno) {
	return i.mmap(addr, length, prot, unix.MAP_PRIVATE, uint64(fd), uint64(off), fixed)
}

func (i image) MapAnon(addr, length uint64, prot int, fixed bool) (uint64, unix.Errno) {
	return i.mmap(addr, length, prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0, fixed)
}

func (i image) mmap(addr, length uint64, prot int, flags, fd, off uint64, fixed bool) (uint64, unix.Errno) {
	if fixed {
		flags |= unix.MAP_FIXED
	}
	r := i.as.Mmap(addr, length, uint64(prot), flags, fd, off)
	if e := -int64(r); e > 0 && e < 4096 {
		return 0, unix.Errno(e)
	}
	return r, 0
}

func (i image) ChoosePIEBase(size, align uint64) uint64 {
	base := (i.as.PIEBase() + align - 1) &^ (align - 1)
	if base+size < base || base+size > i.as.MmapBase() {
		return 0
	}
	return base
}

func (i image) ChooseInterp(size, align uint64) uint64 { return i.as.FreeArea(size, align) }

func (i image) MapStack(size uint64, exec bool) (uint64, unix.Errno) {
	return i.as.MapStack(size, exec)
}

func (i image) SetBrk(start uint64) uint64 { return i.as.SetBrk(start) }

func (i image) CopyOut(gva uint64, src []byte) unix.Errno { return usermem.CopyOut(gva, src) }

// MapVDSO maps the host's vDSO, which then tells the time in the guest at native speed: [vvar] is the host's own pages, the code
// a copy. With VT-x or AMD-V the guest has a TSC_AUX of its own, so getcpu there asks by a hypercall.
func (i image) MapVDSO() (uint64, bool) {
	v, ok := loader.FindHostVDSO()
	if !ok || i.m.ownTSC {
		return 0, false
	}
	i.m.vdso = v
	code := v.Image()
	if !i.m.host.PVM && !loader.RedirectGetcpu(code) {
		i.m.Notef("this host's vDSO has no getcpu that kmdev knows: it says CPU 0")
	}
	addr, e := i.as.MapSpecial([]memory.Part{
		{Name: "[vvar]", Prot: unix.PROT_READ, Host: uintptr(v.VvarStart), Size: v.VvarSize},
		{Name: "[vdso]", Prot: unix.PROT_READ | unix.PROT_EXEC, Data: code},
	})
	return addr + v.VvarSize, e == 0
}

// Run maps the program and lets it run. It returns only if the program can't be started; otherwise the process ends as the
// payload does. channel is the debug channel's descriptor, or -1. On the main thread, which becomes the payload's.
func (m *Machine) Run(channel int) error {
	if m.given != nil && m.given.forked {
		return m.runForked(m.given)
	}
	if !m.host.PVM {
		if err := <-m.firstVCPU; err != nil { // it decides about the vDSO
			return err
		}
		m.firstVCPU <- nil
	}
	start, err := m.program.Map(image{m, m.as})
	if err != nil {
		return err
	}
	m.start = start
	m.tellHost()
	if m.given != nil {
		m.joinTree(m.given.tree)
	}
	setComm(m.program.Comm())
	m.program.Close()
	t, err := m.firstThread(m.inheritedSignals())
	if err != nil {
		return err
	}
	regs := kvm.Regs{Rip: m.start.Entry, Rsp: m.start.StackPointer, Rflags: loader.InitialRflags}
	t.load(&regs, 0, 0)
	if channel >= 0 {
		fd, err := m.fds.Relocate(channel)
		if err != nil {
			return fmt.Errorf("debug channel: %w", err)
		}
		growProcs(1)
		go func() {
			if err := debug.Serve(debug.FD(fd), m.Inferior()); err != nil {
				m.log.Error("debug channel", "err", err)
			}
			unix.Close(fd)
		}()
	}
	m.runFirst(t)
	return nil
}

// runFirst lets the first thread run. It does not return.
func (m *Machine) runFirst(t *Thread) {
	for fd := range 3 {
		if hostcall.InheritedClosed()>>fd&1 != 0 {
			unix.Close(fd)
		}
	}
	if m.opts.Wait {
		t.haltFor(debug.Stop{Reason: debug.StopStart})
	}
	t.run()
	// The payload's first thread has exited and others go on: its host thread stays, as the process's leader must.
	runtime.KeepAlive(m)
	select {}
}

// inheritedSignals is the first thread's signal state: what the program before has left, or what kmdev was started with.
func (m *Machine) inheritedSignals() signal.Snapshot {
	if m.given != nil {
		return m.given.sig
	}
	return signal.Snapshot{Blocked: signal.Set(hostcall.InheritedMask())}
}

func (m *Machine) firstThread(sig signal.Snapshot) (*Thread, error) {
	if err := <-m.firstVCPU; err != nil {
		return nil, err
	}
	t, err := m.newThread()
	if err != nil {
		return nil, err
	}
	t.sig = signal.RestoreThreadState(sig)
	if m.given != nil {
		t.confined.Store(m.given.confined)
	}
	t.enroll(nil)
	hostcall.SetMainThread(t.tid)
	m.tellDispositions()
	return t, nil
}

// tellDispositions makes the host's dispositions those of the payload that matter there, after a new monitor has begun with
// none.
func (m *Machine) tellDispositions() {
	table := m.actions.Table()
	for i := range table {
		if a := &table[i]; a.Handler == signal.SigIgn || a.Flags&(signal.SANoCldStop|signal.SANoCldWait) != 0 {
			if err := hostcall.SetDisposition(i+1, a.Handler == signal.SigIgn, a.Flags); err != nil {
				m.log.Warn("disposition on the host", "signal", i+1, "err", err)
			}
		}
	}
}
