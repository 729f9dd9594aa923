#include "textflag.h"

#define SYS_mmap              9
#define PROT_NONE             0
#define RESERVATION           0x104022 // MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_FIXED_NOREPLACE
#define WINDOW                0x100000000000
#define WINDOW_SIZE           0x600000000000

// reserveWindow keeps Go's heap, whose base is random (GOEXPERIMENT randomizedheapbase64), and everything else that the
// runtime maps at its start, out of the payload's window. Init gives the reservation up. It is part of the entry: it
// needs no g and changes BX and R15 not. A failure shows in memory.New.
TEXT ·reserveWindow(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $SYS_mmap, AX
	MOVQ $WINDOW, DI
	MOVQ $WINDOW_SIZE, SI
	MOVQ $PROT_NONE, DX
	MOVQ $RESERVATION, R10
	MOVQ $-1, R8
	XORL R9, R9
	SYSCALL
	CMPQ AX, DI
	JNE  out
	MOVL $1, ·windowReserved(SB)

out:
	RET
