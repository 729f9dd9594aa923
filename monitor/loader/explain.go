package loader

import (
	"encoding/binary"
	"fmt"
	"path"
)

// machines names e_machine numbers (System V ABI, elf.h). The list holds what people have on their disks.
var machines = map[uint16]string{
	2: "sparc", 3: "i386", 4: "m68k", 8: "mips", 20: "powerpc", 21: "powerpc64", 22: "s390", 40: "arm", 42: "sh", 43: "sparc64",
	50: "ia64", 62: "x86-64", 92: "openrisc", 93: "arc", 94: "xtensa", 164: "hexagon", 183: "aarch64", 189: "microblaze",
	190: "cuda", 195: "arcv2", 224: "amdgpu", 243: "riscv", 247: "bpf", 252: "csky", 258: "loongarch",
}

// foreign explains an ELF file whose e_machine is not x86-64. head holds a whole ELF header.
func foreign(head []byte) string {
	order := binary.ByteOrder(binary.LittleEndian)
	ending := ""
	if head[identData] == dataBig {
		order, ending = binary.BigEndian, " (big-endian)"
	}
	machine := order.Uint16(head[18:])
	name := machines[machine]
	switch {
	case name == "":
		name = fmt.Sprintf("machine %d", machine)
	case machine == emX86_64:
		return "is marked big-endian but for x86-64: the ELF file is damaged; build it again"
	case machine == 3:
		return "is a 32-bit x86 (i386) program; kmdev runs 64-bit programs: rebuild it with -m64"
	case name == "riscv":
		name = "riscv" + bits(head)
	}
	return fmt.Sprintf("is a program for %s%s; kmdev runs x86-64 programs: rebuild it for x86-64", name, ending)
}

func bits(head []byte) string {
	if head[identClass] == class32 {
		return "32"
	}
	return "64"
}

// notProgram explains an e_type that is neither ET_EXEC nor ET_DYN.
func notProgram(typ uint16) string {
	switch typ {
	case 1:
		return "is an object file or kernel module (ET_REL), not a program: link it first"
	case 4:
		return "is a core dump (ET_CORE), not a program: open it with gdb"
	}
	return fmt.Sprintf("is an ELF file of type %d, not a program (ET_EXEC or ET_DYN)", typ)
}

// interpPackages says, by the base name of an ELF interpreter, how to get it.
var interpPackages = map[string]string{
	"ld-linux-x86-64.so.2":  "install glibc (package libc6 on Debian and Ubuntu, glibc on Fedora, gcompat on Alpine)",
	"ld-musl-x86_64.so.1":   "install musl (package musl on Debian, Ubuntu, Alpine and Arch)",
	"ld-uClibc.so.0":        "install uClibc",
	"ld64-uClibc.so.0":      "install uClibc",
	"ld64-uClibc.so.1":      "install uClibc-ng",
	"ld-lsb-x86-64.so.3":    "install the LSB loader (package lsb-core)",
	"ld-linux.so.2":         "it is the 32-bit loader: rebuild the program with -m64",
	"ld-linux-x32.so.2":     "it is the x32 loader: rebuild the program with -m64",
	"ld-linux-aarch64.so.1": "it is the aarch64 loader: rebuild the program for x86-64",
	"linker64":              "it is an Android program: rebuild it for Linux",
	"ld-elf.so.1":           "it is a FreeBSD program: rebuild it for Linux",
	"ld.elf_so":             "it is a NetBSD program: rebuild it for Linux",
	"ld.so":                 "it is not a Linux program: rebuild it for Linux",
}

// missingInterp says what to do about an ELF interpreter that is not there.
func missingInterp(interp string) string {
	if hint, ok := interpPackages[path.Base(interp)]; ok {
		return hint + ", or link the program statically (-static)"
	}
	return "install the C library it belongs to, or link the program statically (-static)"
}
