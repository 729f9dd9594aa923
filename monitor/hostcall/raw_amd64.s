#include "textflag.h"

// func raw6(nr, a0, a1, a2, a3, a4, a5 uintptr) uintptr
TEXT ·raw6(SB),NOSPLIT|NOFRAME,$0-64
	MOVQ nr+0(FP), AX
	MOVQ a0+8(FP), DI
	MOVQ a1+16(FP), SI
	MOVQ a2+24(FP), DX
	MOVQ a3+32(FP), R10
	MOVQ a4+40(FP), R8
	MOVQ a5+48(FP), R9
	SYSCALL
	MOVQ AX, ret+56(FP)
	RET
