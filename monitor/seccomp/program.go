package seccomp

// Insn is struct sock_filter: one instruction of classic BPF.
type Insn struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// InsnSize is sizeof(struct sock_filter).
const InsnSize = 8

// MaxInsns is BPF_MAXINSNS, the longest program.
const MaxInsns = 4096

// Instruction classes, sizes, modes, operations and operands (linux/bpf_common.h).
const (
	bpfLD   = 0x00
	bpfLDX  = 0x01
	bpfST   = 0x02
	bpfSTX  = 0x03
	bpfALU  = 0x04
	bpfJMP  = 0x05
	bpfRET  = 0x06
	bpfMISC = 0x07

	bpfABS = 0x20
	bpfIMM = 0x00
	bpfMEM = 0x60
	bpfLEN = 0x80

	bpfADD = 0x00
	bpfSUB = 0x10
	bpfMUL = 0x20
	bpfDIV = 0x30
	bpfOR  = 0x40
	bpfAND = 0x50
	bpfLSH = 0x60
	bpfRSH = 0x70
	bpfNEG = 0x80
	bpfXOR = 0xa0

	bpfJA   = 0x00
	bpfJEQ  = 0x10
	bpfJGT  = 0x20
	bpfJGE  = 0x30
	bpfJSET = 0x40

	bpfK = 0x00
	bpfX = 0x08
	bpfA = 0x10 // of RET

	bpfTAX = 0x00
	bpfTXA = 0x80
)

// memWords is BPF_MEMWORDS, the scratch words of a program.
const memWords = 16

// operand says how the checker looks at an instruction.
type operand uint8

const (
	legal   operand = 1 + iota
	divisor         // K must not be 0
	shift           // K must be below 32
	offset          // K is an offset into Data
	load            // K is a scratch word that must have been written
	store           // K is a scratch word
	jump            // K instructions forward
	branch          // JT or JF instructions forward
)

// allowed has the instructions of seccomp_check_filter, by code.
var allowed = [256]operand{
	bpfLD | bpfABS: offset, bpfLD | bpfLEN: legal, bpfLDX | bpfLEN: legal, bpfLD | bpfIMM: legal, bpfLDX | bpfIMM: legal,
	bpfLD | bpfMEM: load, bpfLDX | bpfMEM: load, bpfST: store, bpfSTX: store,
	bpfRET | bpfK: legal, bpfRET | bpfA: legal, bpfMISC | bpfTAX: legal, bpfMISC | bpfTXA: legal,
	bpfALU | bpfADD | bpfK: legal, bpfALU | bpfADD | bpfX: legal, bpfALU | bpfSUB | bpfK: legal, bpfALU | bpfSUB | bpfX: legal,
	bpfALU | bpfMUL | bpfK: legal, bpfALU | bpfMUL | bpfX: legal, bpfALU | bpfDIV | bpfK: divisor, bpfALU | bpfDIV | bpfX: legal,
	bpfALU | bpfAND | bpfK: legal, bpfALU | bpfAND | bpfX: legal, bpfALU | bpfOR | bpfK: legal, bpfALU | bpfOR | bpfX: legal,
	bpfALU | bpfXOR | bpfK: legal, bpfALU | bpfXOR | bpfX: legal, bpfALU | bpfLSH | bpfK: shift, bpfALU | bpfLSH | bpfX: legal,
	bpfALU | bpfRSH | bpfK: shift, bpfALU | bpfRSH | bpfX: legal, bpfALU | bpfNEG: legal,
	bpfJMP | bpfJA: jump, bpfJMP | bpfJEQ | bpfK: branch, bpfJMP | bpfJEQ | bpfX: branch, bpfJMP | bpfJGE | bpfK: branch,
	bpfJMP | bpfJGE | bpfX: branch, bpfJMP | bpfJGT | bpfK: branch, bpfJMP | bpfJGT | bpfX: branch,
	bpfJMP | bpfJSET | bpfK: branch, bpfJMP | bpfJSET | bpfX: branch,
}

// Check tells whether the kernel would take a program as a seccomp filter: known instructions, jumps inside it, a return
// at its end, no scratch word read before it is written.
func Check(prog []Insn) bool {
	n := len(prog)
	if n == 0 || n > MaxInsns {
		return false
	}
	for pc, in := range prog {
		if in.Code > 0xff || !in.legal(n-pc-1) {
			return false
		}
	}
	if c := prog[n-1].Code; c != bpfRET|bpfK && c != bpfRET|bpfA {
		return false
	}
	return storesBeforeLoads(prog)
}

// legal checks one instruction with room instructions behind it.
func (in Insn) legal(room int) bool {
	switch allowed[in.Code] {
	case legal:
		return true
	case divisor:
		return in.K != 0
	case shift:
		return in.K < 32
	case offset:
		return in.K < DataSize && in.K%4 == 0
	case load, store:
		return in.K < memWords
	case jump:
		return uint64(in.K) < uint64(room)
	case branch:
		return int(in.JT) < room && int(in.JF) < room
	}
	return false
}

// storesBeforeLoads follows every path (check_load_and_stores): jumps go forward only, so one pass does.
func storesBeforeLoads(prog []Insn) bool {
	written := make([]uint16, len(prog)) // on entry of each, by the paths that jump there
	for i := range written {
		written[i] = 1<<memWords - 1
	}
	valid := uint16(0)
	for pc, in := range prog {
		valid &= written[pc]
		switch allowed[in.Code] {
		case store:
			valid |= 1 << in.K
		case load:
			if valid>>in.K&1 == 0 {
				return false
			}
		case jump:
			written[pc+1+int(in.K)] &= valid
			valid = 1<<memWords - 1
		case branch:
			written[pc+1+int(in.JT)] &= valid
			written[pc+1+int(in.JF)] &= valid
			valid = 1<<memWords - 1
		}
	}
	return true
}
