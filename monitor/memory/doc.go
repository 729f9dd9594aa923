// Package memory is the payload's address space: the VMA list, the host mappings behind it, KVM's memory slots and the
// guest page tables; and the system calls of the mmap family on top of them.
//
// # What mirrors what
//
// The VMA list is the truth. Payload address gva is host address usermem.Window+gva. Each VMA is mapped there by the host
// with its R and W rights (never X); a hole is a hole on the host too, so the host kernel itself answers EFAULT for a bad
// pointer in a system call. Memory slots map naturally aligned chunks of payload addresses to chunks of guest-physical
// ones, on demand. A guest page-table entry is either absent or exactly what the VMA and the slot say:
//
//	present(gva) ⇒ a VMA covers gva, the rights are the VMA's, the frame is the slot's
//
// Absent is always allowed: the payload's next access there exits with #PF and Fault installs the entry, or decides that
// Linux would have sent a signal. Nothing else may be derived from an entry's absence.
//
// # Order of edits
//
// KVM without hardware paging shadows the guest's tables and does not see the monitor write to them; a CPU's TLB does not
// either. Both drop what they hold for a page when the host mapping behind it changes (an MMU notifier). Hence:
//
//	to add rights:    first the host mapping, then the entries
//	to remove rights: first the entries, then the host mapping; if its R and W do not change, it is flipped (rekey)
//
// A vCPU that meets the moment in between gets EFAULT from KVM_RUN. Such a vCPU calls Revalidate, which waits for the lock
// and tells whether to enter again.
//
// # Identities that must hold while KVM holds shadow pages
//
// KVM keys a shadow page by the guest-physical address of the table page it was made from, and keeps it after the table
// page has been unlinked. So, until KVM has been made to forget everything (a slot's deletion does that):
//
//	a table page serves one address range and level only  (tables.retired)
//	a payload address has one guest-physical address only (slots are not moved)
//
// # Locking
//
// AddressSpace.mu guards all of it. It is held across the host's mmap, munmap, mprotect and mremap, never while the
// payload runs, and not while many pages are populated.
package memory
