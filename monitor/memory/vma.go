package memory

import "golang.org/x/sys/unix"

const (
	pageSize  = 4096
	pageMask  = pageSize - 1
	largePage = 2 << 20
)

// Flags are the properties of a VMA that matter to a system call or to what /proc/PID/maps and smaps show. VMAs that
// differ in them are not merged.
type Flags uint32

// The properties of a VMA.
const (
	Shared      Flags = 1 << iota // MAP_SHARED
	File                          // backed by a file, a device or a shared memory object
	GrowsDown                     // MAP_GROWSDOWN
	NoReserve                     // MAP_NORESERVE
	HugeTLB                       // MAP_HUGETLB, or a file on hugetlbfs
	Droppable                     // MAP_DROPPABLE
	Locked                        // mlock(2)
	LockOnFault                   // MLOCK_ONFAULT
	Sealed                        // mseal(2)
	Special                       // [vvar], [vdso]: can't grow, its slot is its own
	SysV                          // shmat(2)
	NoExec                        // on a noexec mount: may not become executable
	DontFork                      // MADV_DONTFORK
	WipeOnFork                    // MADV_WIPEONFORK
	DontDump                      // MADV_DONTDUMP
	Mergeable                     // MADV_MERGEABLE
	HugePage                      // MADV_HUGEPAGE
	NoHugePage                    // MADV_NOHUGEPAGE, and MAP_STACK
	RandomRead                    // MADV_RANDOM
	SeqRead                       // MADV_SEQUENTIAL
)

// VMA is a range of payload addresses with one set of properties. Start and End are multiples of the page size.
type VMA struct {
	Start, End uint64
	Prot       uint32 // PROT_READ|PROT_WRITE|PROT_EXEC as asked for
	Flags      Flags
	// Offset is the file offset of Start in bytes; of private anonymous memory, the address Start was mapped at first, as
	// Linux counts it (two VMAs merge only if their offsets continue).
	Offset uint64
	Dev    uint64 // st_dev of the file
	Ino    uint64
	Name   string // path as /proc/PID/maps shows it, or [heap], [stack], [vdso] …
	// Object tells shared memory objects without a path apart (shared anonymous mappings); 0 otherwise.
	Object uint64
	// Extent is how many bytes from the file's start could be touched when it was mapped, rounded up to a page. Pages
	// beyond it are probed one by one.
	Extent uint64
	// GPA and Host are the guest-physical address of Start and the host memory behind it, if that is outside the window. GPA is 0
	// until a fault has made the slot.
	GPA, Host uint64
	// Page is the page size of a HugeTLB VMA, else 0.
	Page uint64
	// Advised tells that parts of the host mapping have been given advice on huge pages that the payload did not ask for,
	// and Huge that some of it is still to use them.
	Advised, Huge bool
}

func (v *VMA) size() uint64 { return v.End - v.Start }

// hostBacked tells whether v is host memory outside the window, with a slot of its own. The window has a hole there.
func (v *VMA) hostBacked() bool { return v.Host != 0 }

// anonymous tells whether v is private memory with no file behind it.
func (v *VMA) anonymous() bool { return v.Flags&(File|Shared) == 0 && v.Host == 0 }

// fresh tells whether pages of v that the host does not hold are pages of zeros: private memory, and shared memory of ours.
func (v *VMA) fresh() bool { return v.anonymous() || v.Object != 0 && v.Host == 0 }

// accountable tells whether v is private and writable: what Linux counts against RLIMIT_DATA and overcommit.
func (v *VMA) accountable() bool {
	return v.Prot&unix.PROT_WRITE != 0 && v.Flags&(Shared|GrowsDown) == 0
}

// extent is the payload address up to which v's file is known to reach.
func (v *VMA) extent() uint64 {
	if v.Flags&File == 0 || v.Extent-v.Offset >= v.size() && v.Extent >= v.Offset {
		return v.End
	}
	if v.Extent <= v.Offset {
		return v.Start
	}
	return v.Start + v.Extent - v.Offset
}

// from returns the part of v that starts at addr.
func (v *VMA) from(addr uint64) *VMA {
	w := *v
	w.Offset += addr - v.Start
	if v.Host != 0 {
		if v.GPA != 0 {
			w.GPA += addr - v.Start
		}
		w.Host += addr - v.Start
	}
	w.Start = addr
	return &w
}

// continues tells whether w, which starts where v ends, is the same mapping carried on.
func (v *VMA) continues(w *VMA) bool {
	return v.End == w.Start && v.Prot == w.Prot && v.Flags == w.Flags && v.Flags&Special == 0 &&
		v.Offset+v.size() == w.Offset && v.Dev == w.Dev && v.Ino == w.Ino && v.Object == w.Object && v.Name == w.Name
}

// hostProt is the protection of the host mapping behind prot: on x86 a page that may be written or executed may be read,
// and nothing is executable on the host.
func hostProt(prot uint32) uint32 {
	p := prot & (unix.PROT_READ | unix.PROT_WRITE)
	if prot&(unix.PROT_WRITE|unix.PROT_EXEC) != 0 {
		p |= unix.PROT_READ
	}
	return p
}

const protAll = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC

func pageDown(a uint64) uint64 { return a &^ pageMask }

// pageUp rounds up to a page; it wraps to 0 at the top.
func pageUp(a uint64) uint64 { return (a + pageMask) &^ pageMask }

func alignDown(a, n uint64) uint64 { return a &^ (n - 1) }

func alignUp(a, n uint64) uint64 { return (a + n - 1) &^ (n - 1) }
