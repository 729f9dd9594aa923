#include "textflag.h"

// func noptrdata() (start, end uintptr)
TEXT ·noptrdata(SB),NOSPLIT,$0-16
	LEAQ runtime·noptrdata(SB), AX
	MOVQ AX, start+0(FP)
	LEAQ runtime·enoptrdata(SB), AX
	MOVQ AX, end+8(FP)
	RET

// func programData() (start, end uintptr)
TEXT ·programData(SB),NOSPLIT,$0-16
	LEAQ runtime·noptrdata(SB), AX
	MOVQ AX, start+0(FP)
	LEAQ runtime·enoptrbss(SB), AX
	MOVQ AX, end+8(FP)
	RET
