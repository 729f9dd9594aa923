package memory

// Stats counts what an address space has done. See AddressSpace.Stats.
type Stats struct {
	VMAs       int    // now
	Slots      int    // now, without those of page tables and special mappings
	SlotBytes  uint64 // now: payload addresses that have guest-physical ones
	TablePages int    // now, those that wait for KVM to forget them included
	Entries    uint64 // now: pages that have an entry

	Faults        uint64 // page faults of the payload
	Spurious      uint64 // of them, those that the entries did not explain
	Installs      uint64 // of them, those that installed entries
	Ahead         uint64 // pages populated before they were touched
	HugeBlocks    uint64 // 2 MiB blocks among them advised to be huge pages
	Probes        uint64 // pages tried on the host before their entry was installed
	Flips         uint64 // host protections taken and given back to make KVM drop a right
	Forgets       uint64 // times that KVM was made to forget everything
	Evictions     uint64 // slots in use deleted for want of slots
	Revalidations uint64 // KVM_RUN that failed with EFAULT
}

// Stats gives the counters.
func (as *AddressSpace) Stats() Stats {
	as.mu.Lock()
	defer as.mu.Unlock()
	s := as.stats
	s.VMAs, s.Slots, s.SlotBytes = as.vmas.n, len(as.slots.byAddr), as.slots.bytes
	s.TablePages, s.Entries = as.tables.pool.inUse, as.tables.pages
	return s
}
