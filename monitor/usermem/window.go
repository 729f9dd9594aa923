package usermem

// Payload address gva lives at host address Window+gva.
const (
	Window = 0x1000_0000_0000
	Size   = 0x6000_0000_0000 // the payload's TASK_SIZE: its addresses are below
)

// Host translates n bytes at a payload address. ok is false if any of them is outside the payload's address space; for
// n = 0, gva may be Size. It says nothing about what is mapped there.
func Host(gva, n uint64) (addr uintptr, ok bool) {
	if gva > Size || n > Size-gva {
		return 0, false
	}
	return uintptr(Window + gva), true
}
