package seccomp

// Data is struct seccomp_data: what a program sees of a hypercall.
type Data struct {
	Nr   uint32
	Arch uint32
	IP   uint64 // behind the SYSCALL instruction
	Args [6]uint64
}

// DataSize is sizeof(struct seccomp_data).
const DataSize = 64

// ArchX86_64 is AUDIT_ARCH_X86_64.
const ArchX86_64 = 0xc000003e

// word is the 32 bits at an offset that Check has passed.
func (d *Data) word(off uint32) uint32 {
	v := d.IP
	switch off {
	case 0:
		return d.Nr
	case 4:
		return d.Arch
	case 8, 12:
	default:
		v = d.Args[(off-16)/8]
	}
	return uint32(v >> (8 * (off & 4)))
}

// run evaluates a program that Check has passed.
func run(prog []Insn, d *Data) uint32 {
	var a, x uint32
	var mem [memWords]uint32
	for pc := 0; ; pc++ {
		in := &prog[pc]
		switch in.Code & 7 {
		case bpfLD:
			a = in.value(d, &mem)
		case bpfLDX:
			x = in.value(d, &mem)
		case bpfST:
			mem[in.K] = a
		case bpfSTX:
			mem[in.K] = x
		case bpfALU:
			v := in.K
			if in.Code&bpfX != 0 {
				v = x
			}
			if in.Code == bpfALU|bpfDIV|bpfX && v == 0 {
				return 0 // what the kernel makes of a division by zero
			}
			a = alu(in.Code&0xf0, a, v)
		case bpfJMP:
			pc += in.skip(a, x)
		case bpfRET:
			if in.Code == bpfRET|bpfA {
				return a
			}
			return in.K
		default:
			if in.Code == bpfMISC|bpfTAX {
				x = a
			} else {
				a = x
			}
		}
	}
}

// value is what LD and LDX load.
func (in *Insn) value(d *Data, mem *[memWords]uint32) uint32 {
	switch in.Code & 0xe0 {
	case bpfABS:
		return d.word(in.K)
	case bpfMEM:
		return mem[in.K]
	case bpfLEN:
		return DataSize
	}
	return in.K
}

func alu(op uint16, a, v uint32) uint32 {
	switch op {
	case bpfADD:
		return a + v
	case bpfSUB:
		return a - v
	case bpfMUL:
		return a * v
	case bpfDIV:
		return a / v
	case bpfOR:
		return a | v
	case bpfAND:
		return a & v
	case bpfXOR:
		return a ^ v
	case bpfLSH:
		return a << (v & 31)
	case bpfRSH:
		return a >> (v & 31)
	}
	return -a // NEG
}

// skip is how many instructions a jump leaves out.
func (in *Insn) skip(a, x uint32) int {
	op := in.Code & 0xf0
	if op == bpfJA {
		return int(in.K)
	}
	v := in.K
	if in.Code&bpfX != 0 {
		v = x
	}
	var taken bool
	switch op {
	case bpfJEQ:
		taken = a == v
	case bpfJGT:
		taken = a > v
	case bpfJGE:
		taken = a >= v
	default:
		taken = a&v != 0
	}
	if taken {
		return int(in.JT)
	}
	return int(in.JF)
}
