#include "textflag.h"

#define SYS_rt_sigaction   13
#define SYS_rt_sigprocmask 14
#define SYS_prlimit64      302
#define SIG_SETMASK        2
#define SIG_IGN            1
#define RLIMIT_NOFILE      7
#define NSIG               64
#define SIGBUS             7
#define SIGSEGV            11

// First eight bytes of the environment entry that tells the entry to stand aside, "KMDEVRT0", little-endian.
#define STAND_ASIDE 0x3054525645444d4b

// kmdev_rt0 is the ELF entry point of a kmdev binary (go build -ldflags='-E kmdev_rt0'), or of the copy of any other
// that startAgain makes. The kernel enters with the stack at argc, argv, NULL, envp, NULL, auxv; where there is a
// dynamic linker, it enters likewise with RDX set to its finisher. No Go code may run yet: there is no g and FS may be
// 0.
TEXT kmdev_rt0(SB),NOSPLIT|NOFRAME,$0
	MOVQ SP, BX
	MOVQ DX, R15
	MOVQ 0(BX), CX
	MOVQ 16(BX)(CX*8), AX // first environment entry; eight bytes can be read: the kernel ends the stack with eight zeroes
	TESTQ AX, AX
	JZ   block
	MOVQ $STAND_ASIDE, CX
	CMPQ (AX), CX
	JNE  block
	MOVQ ·continueAt(SB), AX
	JMP  AX

block:
	// After execve no signal has a handler: nothing can interrupt, and the stack below SP is free.
	SUBQ $64, SP
	MOVQ $-1, 0(SP)
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $SIG_SETMASK, DI
	MOVQ SP, SI
	LEAQ ·inheritedMask(SB), DX
	MOVQ $8, R10
	SYSCALL

	XORL R12, R12 // set of ignored signals
	MOVQ $1, R13  // signal

disposition:
	MOVQ $SYS_rt_sigaction, AX
	MOVQ R13, DI
	XORL SI, SI
	LEAQ 8(SP), DX
	MOVQ $8, R10
	SYSCALL
	CMPQ 8(SP), $SIG_IGN
	JNE  nextDisposition
	LEAQ -1(R13), CX
	BTSQ CX, R12

nextDisposition:
	INCQ R13
	CMPQ R13, $NSIG
	JLS  disposition
	MOVQ R12, ·inheritedIgnored(SB)

	// Package os raises the soft limit of descriptors in its init; this is the payload's.
	MOVQ $SYS_prlimit64, AX
	XORL DI, DI
	MOVQ $RLIMIT_NOFILE, SI
	XORL DX, DX
	LEAQ ·inheritedNofile(SB), R10
	SYSCALL
	ADDQ $64, SP

	CALL ·roomForDescriptors(SB)
	CALL ·reserveWindow(SB)
	MOVQ BX, ·startVector(SB)

	// Not if a descriptor is missing that the runtime is to open: the thread must not get its number.
	CMPQ ·earlyCalls+8(SB), $0
	JEQ  patch
	CMPQ ·fdBound(SB), $0
	JEQ  patch
	CMPQ ·closedStandard(SB), $0
	JNE  patch
	CALL ·populateData(SB)
	CALL ·calmSysmon(SB)
	CALL ·startEarly(SB)

patch:
	CALL ·patchSigtable(SB)

	// Hand the runtime a copy of the vector in which runtimeEnv stands before the environment: first mention wins.
	MOVQ 0(BX), CX
	LEAQ 16(BX)(CX*8), R8 // envp
	MOVQ R8, DX

environ:
	MOVQ (DX), AX
	ADDQ $8, DX
	TESTQ AX, AX
	JNZ  environ

auxv:
	MOVQ (DX), AX
	ADDQ $16, DX
	TESTQ AX, AX
	JNZ  auxv

	MOVQ ·runtimeEnv+8(SB), R9 // len
	MOVQ DX, AX
	SUBQ BX, AX
	LEAQ (AX)(R9*8), AX
	SUBQ AX, SP
	ANDQ $~15, SP
	CLD
	MOVQ SP, DI
	MOVQ BX, SI
	MOVQ R8, CX
	SUBQ BX, CX
	SHRQ $3, CX
	REP; MOVSQ

	MOVQ ·runtimeEnv+0(SB), R10

override:
	TESTQ R9, R9
	JZ   rest
	MOVQ (R10), AX // data pointer of the string header
	MOVQ AX, (DI)
	ADDQ $16, R10
	ADDQ $8, DI
	DECQ R9
	JMP  override

rest:
	MOVQ DX, CX
	SUBQ SI, CX
	SHRQ $3, CX
	REP; MOVSQ
	MOVQ R15, DX
	MOVQ ·continueAt(SB), AX
	JMP  AX

// continueAt is where kmdev_rt0 goes on: the entry point that the linker would have chosen.
DATA ·continueAt(SB)/8, $_rt0_amd64_linux(SB)
GLOBL ·continueAt(SB), NOPTR, $8

// func entryAddresses() (entry, continueAt uintptr)
TEXT ·entryAddresses(SB),NOSPLIT,$0-16
	LEAQ kmdev_rt0(SB), AX
	MOVQ AX, entry+0(FP)
	LEAQ ·continueAt(SB), AX
	MOVQ AX, continueAt+8(FP)
	RET

// patchSigtable finds runtime.sigtable, which the linker lets no other package name, by its contents in the data
// segment, checks it against runtimeSigtable, and clears what would make the runtime open a signal in each new thread
// (runtime.blockableSig), for all but SIGBUS and SIGSEGV. Sets sigtablePatched. It needs no g.
//
// struct sigTabT { flags int32; name string } is 24 bytes.
TEXT ·patchSigtable(SB),NOSPLIT|NOFRAME,$0-0
	LEAQ runtime·data(SB), SI
	LEAQ runtime·edata(SB), DI
	SUBQ $((NSIG+1)*24), DI

scan:
	CMPQ SI, DI
	JHI  done
	CMPL 0(SI), $0
	JNE  next
	CMPQ 16(SI), $16 // len("SIGNONE: no trap")
	JNE  next
	MOVQ 8(SI), AX
	LEAQ runtime·rodata(SB), CX
	CMPQ AX, CX
	JCS  next
	LEAQ runtime·erodata(SB), CX
	SUBQ $8, CX
	CMPQ AX, CX
	JHI  next
	MOVQ $0x3a454e4f4e474953, CX // "SIGNONE:"
	CMPQ (AX), CX
	JNE  next

	LEAQ ·runtimeSigtable(SB), R8
	MOVQ SI, R9
	XORL CX, CX

verify:
	MOVL (R9), AX
	CMPL AX, (R8)(CX*4)
	JNE  next
	ADDQ $24, R9
	INCQ CX
	CMPQ CX, $NSIG
	JLS  verify

	MOVQ SI, R9
	XORL CX, CX

patch:
	CMPQ CX, $SIGBUS
	JEQ  keep
	CMPQ CX, $SIGSEGV
	JEQ  keep
	MOVL ·runtimeOpens(SB), AX
	NOTL AX
	ANDL AX, (R9)

keep:
	ADDQ $24, R9
	INCQ CX
	CMPQ CX, $NSIG
	JLS  patch
	MOVL $1, ·sigtablePatched(SB)
	RET

next:
	ADDQ $8, SI
	JMP  scan

done:
	RET
