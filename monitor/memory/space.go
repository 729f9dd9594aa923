package memory

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"kmdev/monitor/usermem"

	"golang.org/x/sys/unix"
)

// Config says what an address space is made with.
type Config struct {
	Slots     Slots
	FirstSlot uint32 // slots [FirstSlot, MaxSlots) are the address space's
	MaxSlots  int    // KVM_CAP_NR_MEMSLOTS
	PhysBase  uint64 // guest-physical addresses [PhysBase, 1<<PhysBits) are the address space's
	PhysBits  int    // width of a guest-physical address

	// Tables, if not nil, is TablesSize bytes of zeroed memory for the first page tables, which a slot has at TablesGPA, a
	// multiple of 2 MiB below PhysBase. It stays the caller's.
	Tables    []byte
	TablesGPA uint64

	NoASLR bool // personality(2)'s ADDR_NO_RANDOMIZE

	// Limit gives the payload's soft limit of a resource (RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_MEMLOCK), read at
	// each use. Nil means getrlimit(2).
	Limit func(resource int) uint64
	// Relocate, if not nil, moves a descriptor of the monitor's out of the payload's range and gives its new number.
	Relocate func(fd int) (int, error)
	// MinAddr is vm.mmap_min_addr; 0 means the host's.
	MinAddr uint64
	// MaxMaps is vm.max_map_count; 0 means the host's.
	MaxMaps int
	// NoLargePages keeps guest page tables to 4 KiB entries.
	NoLargePages bool
	// NoAhead switches populating ahead off; for measurements.
	NoAhead bool
}

// AddressSpace is the payload's memory. All methods may be called from any thread.
type AddressSpace struct {
	cfg Config

	mu      sync.Mutex
	vmas    vmaList
	slots   *slotSet
	tables  *tables
	layout  layout
	huge    hugeChoice
	ahead   ahead
	nursery nursery
	stats   Stats

	watch         func() // WatchHidden's
	hiddenChanged bool   // memory that it is about has come or gone

	total   uint64 // bytes mapped (RLIMIT_AS)
	peak    uint64 // the most that total has been
	growing int    // VMAs ever made that grow down
	data    uint64 // bytes of private writable memory (RLIMIT_DATA)
	future  Flags  // what mlockall(MCL_FUTURE) gives each new VMA
	object  uint64 // last VMA.Object given

	reclaimAt    uint64 // bytes of slots at which idle ones are looked for
	reclaimCount int    // slots at which they are
	spurious     spurious
	thpSetting   thpMode
	eagerUsed    uint64 // anonymous pages populated when they were mapped
	probing      bool   // KVM_RUN has failed: installing an entry probes the page first
	memFD        int    // /proc/self/mem, -1 if not open

	// generation counts changes that may have made KVM_RUN fail while they were going on.
	generation atomic.Uint64
}

// New makes an empty address space. The window must be unmapped.
func New(c Config) (*AddressSpace, error) {
	if c.Limit == nil {
		c.Limit = hostLimit
	}
	as := &AddressSpace{cfg: c, memFD: -1, reclaimAt: firstReclaim}
	if inWindow(as) {
		return nil, errHeapInWindow
	}
	as.slots = newSlotSet(&as.cfg, usermem.Window)
	pool := &tablePool{slots: as.slots, chunks: map[uint64]*poolChunk{}}
	if c.Tables != nil {
		pool.add(c.Tables[:TablesSize], c.TablesGPA)
	}
	t, err := newTables(pool, !c.NoLargePages)
	if err != nil {
		return nil, fmt.Errorf("address space: %w", err)
	}
	as.tables = t
	as.layout = newLayout(&as.cfg)
	return as, nil
}

// errHeapInWindow: Go 1.26 puts its heap anywhere below 1<<46.
var errHeapInWindow = fmt.Errorf("address space: the monitor's Go heap lies in the payload's window [%#x, %#x): "+
	"it was started without hostcall's entry point, which keeps the window free; "+
	"call hostcall.Init first, or build with GOEXPERIMENT=norandomizedheapbase64",
	uint64(usermem.Window), uint64(usermem.Window+usermem.Size))

// Close unmaps the window and gives up host memory. The VM must not run any more.
func (as *AddressSpace) Close() {
	as.mu.Lock()
	defer as.mu.Unlock()
	hostUnmap(0, usermem.Size)
	as.vmas = vmaList{}
	as.tables.pool.close()
	as.nursery.close()
	if as.memFD >= 0 {
		unix.Close(as.memFD)
		as.memFD = -1
	}
}

// CR3 is the guest-physical address of the top-level page table.
func (as *AddressSpace) CR3() uint64 { return as.tables.root }

// SetKernelEntry sets an entry of the top-level page table that lies above every payload address. While no vCPU is in the
// guest.
func (as *AddressSpace) SetKernelEntry(index int, entry uint64) {
	if uint64(index) < usermem.Size>>39 {
		panic("memory: entry " + strconv.Itoa(index) + " of the top-level table is the payload's")
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	tab, _ := as.tables.pool.at(as.tables.root)
	tab[index] = entry
}

func hostLimit(resource int) uint64 {
	var r unix.Rlimit
	if unix.Prlimit(0, resource, nil, &r) != nil {
		return unix.RLIM_INFINITY
	}
	return r.Cur
}

// fewMaps is how many VMAs are below any limit, and lowAddr what is above any minimum: the host's values are read only when
// they count, which is not while a program starts.
const (
	fewMaps = 1000
	lowAddr = 1 << 20
)

// maxMaps is how many VMAs there may be.
func (as *AddressSpace) maxMaps() int {
	if as.cfg.MaxMaps == 0 {
		if as.vmas.n < fewMaps {
			return 2 * fewMaps
		}
		as.cfg.MaxMaps = int(sysctl("max_map_count", 65530))
	}
	return as.cfg.MaxMaps
}

// minAddr is vm.mmap_min_addr.
func (as *AddressSpace) minAddr() uint64 {
	if as.cfg.MinAddr == 0 {
		as.cfg.MinAddr = max(sysctl("mmap_min_addr", 65536), pageSize)
	}
	return as.cfg.MinAddr
}

func sysctl(name string, otherwise uint64) uint64 {
	b, err := os.ReadFile("/proc/sys/vm/" + name)
	if err != nil {
		return otherwise
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

func (as *AddressSpace) random(pages uint64) uint64 {
	if as.cfg.NoASLR || pages == 0 {
		return 0
	}
	return rand.Uint64N(pages) * pageSize
}

// changed ends a change of host mappings that a running vCPU may have stumbled over.
func (as *AddressSpace) changed() { as.generation.Add(1) }

// Generation is read by a vCPU thread before it enters the guest, and given to Revalidate if KVM_RUN fails with EFAULT.
func (as *AddressSpace) Generation() uint64 { return as.generation.Load() }

// account adds v to, or with sign -1 takes it from, what the resource limits count.
func (as *AddressSpace) account(v *VMA, sign int64) {
	n := uint64(sign) * v.size()
	as.total += n
	as.peak = max(as.peak, as.total)
	if v.Prot&unix.PROT_EXEC != 0 || v.Flags&Special != 0 {
		as.hiddenChanged = true
	}
	if v.accountable() {
		as.data += n
	}
}

// mayExpand tells whether length more bytes with v's properties are within RLIMIT_AS and RLIMIT_DATA (may_expand_vm).
func (as *AddressSpace) mayExpand(v *VMA, length uint64) bool {
	if limit := as.cfg.Limit(unix.RLIMIT_AS); as.total+length > limit {
		return false
	}
	if v.accountable() {
		if limit := as.cfg.Limit(unix.RLIMIT_DATA); as.data+length > limit {
			return false
		}
	}
	return true
}

// replace makes v, or nothing if v is nil, the only VMA of [start, end). The host mapping has been changed already.
func (as *AddressSpace) replace(start, end uint64, v *VMA) {
	if as.vmas.overlaps(start, end) {
		as.vmas.cut(start)
		as.vmas.cut(end)
		for old := range as.vmas.all(start, end) {
			as.account(old, -1)
		}
		as.vmas.remove(start, end)
	}
	if v != nil {
		as.vmas.insert(v)
		as.account(v, 1)
		as.vmas.merge(start, end)
	}
	as.watched()
}

// update gives the VMAs of [start, end) new properties, which f sets.
func (as *AddressSpace) update(start, end uint64, f func(*VMA)) {
	as.vmas.cut(start)
	as.vmas.cut(end)
	for v := range as.vmas.all(start, end) {
		as.account(v, -1)
		f(v)
		as.account(v, 1)
	}
	as.vmas.merge(start, end)
	as.watched()
}

// cuts tells how many more VMAs cutting at start and end would make.
func (as *AddressSpace) cuts(start, end uint64) int {
	n := 0
	for _, a := range [2]uint64{start, end} {
		if v := as.vmas.find(a); v != nil && v.Start < a {
			n++
		}
	}
	return n
}
