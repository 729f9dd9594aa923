#include "textflag.h"

// kmdev_main_rt0 is the ELF entry point (go build -ldflags='-E kmdev_main_rt0'): hostcall's, which begins with the VM for
// `kmdev run …`, and for a process that goes on with a payload of another monitor's, whatever its arguments are: its first
// environment entry begins with "KMDEVSTA" (hostcall.StateGiven). The stack is as the kernel made it: argc, argv, NULL, envp.
TEXT kmdev_main_rt0(SB),NOSPLIT|NOFRAME,$0
	MOVQ 0(SP), AX
	MOVQ 16(SP)(AX*8), CX
	TESTQ CX, CX
	JZ   byHand
	MOVQ $0x4154535645444d4b, R8
	CMPQ (CX), R8
	JNE  byHand
	LEAQ kmdev∕monitor∕kvm·EarlyCallsAgain(SB), CX
	JMP  early

byHand:
	CMPQ AX, $3
	JLT  start
	MOVQ 16(SP), CX
	CMPL (CX), $0x006e7572 // "run"
	JNE  start
	LEAQ kmdev∕monitor∕kvm·EarlyCalls(SB), CX

early:
	MOVQ 0(CX), AX
	MOVQ AX, kmdev∕monitor∕hostcall·earlyCalls+0(SB)
	MOVQ 8(CX), AX
	MOVQ AX, kmdev∕monitor∕hostcall·earlyCalls+8(SB)

start:
	JMP kmdev_rt0(SB)

// func growStack()
TEXT ·growStack(SB),0,$24576-0
	RET
