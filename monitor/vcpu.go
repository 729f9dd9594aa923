package monitor

import (
	"fmt"

	"kmdev/monitor/kvm"

	"golang.org/x/sys/unix"
)

// vcpu is a virtual CPU and its number. A thread takes one from the pool when it starts and gives it back when it exits;
// KVM can't delete a vCPU, so a VM has as many as it ever had threads at once.
type vcpu struct {
	*kvm.VCPU
	id int
	// mask is what KVM blocks during KVM_RUN (SetSignalMask), valid if maskSet.
	mask    uint64
	maskSet bool
}

// APIC base of a vCPU without an in-kernel interrupt controller: enabled, at its architectural place; vCPU 0 is the
// bootstrap processor. KVM refuses other values.
const (
	apicBase    = 0xfee00800
	apicBaseBSP = 0x100
)

// takeVCPU gives a vCPU for the calling thread, which is a fresh one or one that a thread left behind.
func (m *Machine) takeVCPU() (*vcpu, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.idle); n > 0 {
		v := m.idle[n-1]
		m.idle = m.idle[:n-1]
		return v, nil
	}
	return m.newVCPU()
}

// newVCPU makes a vCPU. m.mu is held.
func (m *Machine) newVCPU() (*vcpu, error) {
	id := m.vcpus
	if id >= m.maxVCPUs {
		return nil, fmt.Errorf("more than %d threads at once: this host's KVM gives a VM no more vCPUs (KVM_CAP_MAX_VCPUS): %w", m.maxVCPUs, unix.EAGAIN)
	}
	k, err := m.vm.CreateVCPU(id, m.fds.Relocate)
	if err != nil {
		return nil, err
	}
	v := &vcpu{VCPU: k, id: id}
	if err := m.initVCPU(v); err != nil {
		k.Close()
		return nil, err
	}
	m.vcpus++
	return v, nil
}

func (m *Machine) initVCPU(v *vcpu) error {
	m.pad.InitVCPU(v.id)
	if err := v.SetCPUID(m.host.CPUID); err != nil {
		return err
	}
	if err := v.SetXCR0(m.host.XCR0); err != nil {
		return err
	}
	if err := v.SetMSRs(m.pad.MSRs()); err != nil {
		return err
	}
	if !m.host.PVM { // there RDTSC at CPL 3 is the host's anyway
		if err := v.ShareTSC(); err != nil {
			m.ownTSC = true
			m.log.Info("the guest's time stamp counter is not the host's: no vDSO, clocks cost a hypercall", "err", err)
		}
	}
	return nil
}

// load gives the thread's vCPU its first registers and segment bases.
func (t *Thread) load(regs *kvm.Regs, fsBase, gsBase uint64) {
	run := t.v.Run
	run.Regs = *regs
	t.m.pad.InitSregs(&run.Sregs, t.v.id, t.m.as.CR3(), fsBase, gsBase)
	run.Sregs.APICBase = apicBase
	if t.v.id == 0 {
		run.Sregs.APICBase |= apicBaseBSP
	}
	run.ValidRegs = kvm.SyncRegs | kvm.SyncSregs | kvm.SyncEvents
	t.dirty = kvm.SyncRegs | kvm.SyncSregs
}

// giveBack returns v to the pool when its thread is done with it.
func (m *Machine) giveBack(v *vcpu) {
	m.mu.Lock()
	m.idle = append(m.idle, v)
	m.mu.Unlock()
}
