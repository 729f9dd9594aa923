#include "textflag.h"

// kmdev_main_rt0 is the ELF entry point (go build -ldflags='-E kmdev_main_rt0'): hostcall's, which for `kmdev run …` begins
// with the VM. The stack is as the kernel made it: argc, argv.
// A process that another monitor has made goes on with a payload, whatever its arguments are: its first environment entry
// begins with "KMDEVSTA" (hostcall.StateGiven).
TEXT kmdev_main_rt0(SB),NOSPLIT|NOFRAME,$0
	MOVQ 0(SP), CX
	CMPQ CX, $3
	JLT  start
	MOVQ 16(SP)(CX*8), AX
	TESTQ AX, AX
	JZ   early
	MOVQ $0x4154535645444d4b, R8
	CMPQ (AX), R8
	JEQ  start

early:
	MOVQ 16(SP), CX
	CMPL (CX), $0x006e7572 // "run"
	JNE  start
	LEAQ kmdev∕monitor∕kvm·EarlyCalls(SB), CX
	MOVQ 0(CX), AX
	MOVQ AX, kmdev∕monitor∕hostcall·earlyCalls+0(SB)
	MOVQ 8(CX), AX
	MOVQ AX, kmdev∕monitor∕hostcall·earlyCalls+8(SB)

start:
	JMP kmdev_rt0(SB)

// func growStack()
TEXT ·growStack(SB),0,$24576-0
	RET
