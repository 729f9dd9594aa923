#include "textflag.h"

#define SYS_close     3
#define SYS_dup2      33
#define SYS_fcntl     72
#define F_GETFD       1
#define SYS_eventfd2  290
#define SYS_prlimit64 302
#define RLIMIT_NOFILE 7
#define ROOMY         32768
#define RESERVE       4160
#define RESERVE_FEW   256

// The first eight bytes of stateName, "KMDEVSTA", little-endian, and its length.
#define STATE_NAME     0x4154535645444d4b
#define STATE_NAME_LEN 11

// roomForDescriptors decides which descriptors are the monitor's (fdBound and above) and makes the kernel grow the
// descriptor table to hold them all. It is part of the entry: later, with threads that share the table, growing it
// waits for an RCU grace period, 20 ms and more. It needs no g and changes BX and R15 not.
TEXT ·roomForDescriptors(SB),NOSPLIT|NOFRAME,$0-0
	SUBQ $16, SP

	// Which standard files are closed. The runtime would open /dev/null in their place, and end if there is none, as in a
	// chroot: an eventfd takes the place, whose number is the lowest one free.
	XORL R12, R12
	XORL R13, R13

standard:
	MOVQ $SYS_fcntl, AX
	MOVQ R12, DI
	MOVQ $F_GETFD, SI
	SYSCALL
	TESTQ AX, AX
	JGE  open
	BTSQ R12, R13
	MOVQ $SYS_eventfd2, AX
	XORL DI, DI
	XORL SI, SI
	SYSCALL

open:
	INCQ R12
	CMPQ R12, $3
	JCS  standard
	MOVQ R13, ·closedStandard(SB)

	MOVQ ·inheritedNofile+0(SB), R8 // soft
	MOVQ ·inheritedNofile+8(SB), R9 // hard

	// A process that goes on for another one keeps its division, whose end is the hard limit by now: descriptors that are
	// handed over would become the payload's otherwise. The bound is the first number of the entry (givenText).
	MOVQ 0(BX), CX
	MOVQ 16(BX)(CX*8), SI // first environment entry
	TESTQ SI, SI
	JZ   fresh
	MOVQ $STATE_NAME, CX
	CMPQ (SI), CX
	JNE  fresh
	ADDQ $STATE_NAME_LEN, SI
	XORL R12, R12

digit:
	MOVBLZX (SI), CX
	INCQ SI
	CMPL CX, $','
	JEQ  divided
	SUBL $'0', CX
	CMPL CX, $9
	JLS  value
	SUBL $('a'-'0'-10), CX

value:
	CMPL CX, $15
	JHI  fresh
	SHLQ $4, R12
	ORQ  CX, R12
	JMP  digit

divided:
	TESTQ R12, R12
	JZ   fresh
	CMPQ R12, R9
	JCC  fresh
	MOVQ R9, R13
	SUBQ R9, R12
	NEGQ R12
	JMP  share

fresh:
	MOVQ $ROOMY, R12 // bound
	CMPQ R9, R12
	JCC  atLeastSoft
	MOVQ R9, R12

atLeastSoft:
	CMPQ R12, R8
	JCC  widen
	MOVQ R8, R12

widen:
	LEAQ RESERVE(R12), R13 // end of the monitor's range
	MOVQ R13, 0(SP)
	MOVQ R9, 8(SP)
	CMPQ R9, R13
	JCC  raise
	MOVQ R13, 8(SP) // needs CAP_SYS_RESOURCE

raise:
	MOVQ $SYS_prlimit64, AX
	XORL DI, DI
	MOVQ $RLIMIT_NOFILE, SI
	MOVQ SP, DX
	XORL R10, R10
	SYSCALL
	TESTQ AX, AX
	JZ   grow

	// Not allowed: the payload gets less than its hard limit, at worst half of it. The monitor takes more when it needs them.
	MOVQ R9, R13
	MOVQ R9, R12
	SHRQ $1, R12
	CMPQ R12, $RESERVE_FEW
	JLS  share
	MOVQ $RESERVE_FEW, R12

share:
	NEGQ R12
	ADDQ R9, R12
	MOVQ R9, 0(SP)
	MOVQ R9, 8(SP)
	MOVQ $SYS_prlimit64, AX
	XORL DI, DI
	MOVQ $RLIMIT_NOFILE, SI
	MOVQ SP, DX
	XORL R10, R10
	SYSCALL
	TESTQ AX, AX
	JNZ  out

grow:
	MOVQ R12, ·fdBound(SB)
	MOVQ R13, ·FDEndWord(SB)
	MOVQ $SYS_eventfd2, AX
	XORL DI, DI
	XORL SI, SI
	SYSCALL
	TESTQ AX, AX
	JLT  out
	MOVQ AX, R12
	MOVQ AX, DI
	LEAQ -1(R13), SI
	MOVQ $SYS_dup2, AX
	SYSCALL
	LEAQ -1(R13), DI
	MOVQ $SYS_close, AX
	SYSCALL
	MOVQ R12, DI
	MOVQ $SYS_close, AX
	SYSCALL

out:
	ADDQ $16, SP
	RET
