#include "textflag.h"
#include "go_asm.h"

// Fault-safe access. Every routine here has the frame of func(a *access), so that the handler can send any of them to
// faultExit or retryExit. R8 is a. They lie in this order (checkLayout); handle decides by address:
//
//	[copyBytes, copyTail)    a fault goes on in copyTail: the 8 bytes may be half good
//	[copyTail, copyDone)     a fault ends the copy, RCX bytes are left
//	[copyBytes, copyDone)    may be done again from the start
//	[perform, accessLoad32)  nothing accessed yet
//	access…+0                the one instruction that accesses; a fault there has changed nothing
//
// Retry is asked for when the thread must not fault now (closedThreads).

// func copyBytes(a *access)
TEXT ·copyBytes(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ a+0(FP), R8
	MOVQ access_dst(R8), DI
	MOVQ access_src(R8), SI
	MOVQ access_n(R8), CX
	CMPL access_force(R8), $0
	JNE  start
	CMPL ·closedThreads(SB), $0
	JEQ  start
	JMP  ·retryExit(SB)

start:
	CLD
	CMPQ CX, $256
	JCC  bulk

quads:
	CMPQ CX, $8
	JCS  bytes
	MOVQ (SI), AX
	MOVQ AX, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	SUBQ $8, CX
	JMP  quads

bytes:
	TESTQ CX, CX
	JZ   done
	MOVB (SI), AX
	MOVB AX, (DI)
	INCQ SI
	INCQ DI
	DECQ CX
	JMP  bytes

bulk:
	REP; MOVSB

done:
	JMP  ·copyDone(SB)

// func copyTail(a *access)
TEXT ·copyTail(SB),NOSPLIT|NOFRAME,$0-8
	REP; MOVSB
	JMP  ·copyDone(SB)

// func copyDone(a *access)
TEXT ·copyDone(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ $0, access_left(R8)
	MOVL $const_accessOK, access_status(R8)
	RET

// func perform(a *access)
TEXT ·perform(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ a+0(FP), R8
	MOVQ access_dst(R8), DI
	MOVQ access_old(R8), AX
	MOVQ access_val(R8), CX
	MOVQ access_op(R8), R10
	CMPL access_force(R8), $0
	JNE  start
	CMPL ·closedThreads(SB), $0
	JEQ  start
	JMP  ·retryExit(SB)

start:
	JMP  R10

TEXT ·accessLoad32(SB),NOSPLIT|NOFRAME,$0-8
	MOVL (DI), AX
	JMP  ·accessDone(SB)

TEXT ·accessLoad64(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ (DI), AX
	JMP  ·accessDone(SB)

TEXT ·accessStore32(SB),NOSPLIT|NOFRAME,$0-8
	MOVL CX, (DI)
	JMP  ·accessDone(SB)

TEXT ·accessStore64(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ CX, (DI)
	JMP  ·accessDone(SB)

TEXT ·accessSwap32(SB),NOSPLIT|NOFRAME,$0-8
	XCHGL CX, (DI)
	MOVL CX, AX
	JMP  ·accessDone(SB)

TEXT ·accessSwap64(SB),NOSPLIT|NOFRAME,$0-8
	XCHGQ CX, (DI)
	MOVQ CX, AX
	JMP  ·accessDone(SB)

TEXT ·accessCas32(SB),NOSPLIT|NOFRAME,$0-8
	LOCK
	CMPXCHGL CX, (DI)
	JMP  ·accessDone(SB)

TEXT ·accessCas64(SB),NOSPLIT|NOFRAME,$0-8
	LOCK
	CMPXCHGQ CX, (DI)
	JMP  ·accessDone(SB)

// func accessDone(a *access)
TEXT ·accessDone(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ AX, access_result(R8)
	MOVL $const_accessOK, access_status(R8)
	RET

// func faultExit(a *access)
TEXT ·faultExit(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ a+0(FP), R8
	MOVQ CX, access_left(R8)
	MOVL $const_accessFault, access_status(R8)
	RET

// func retryExit(a *access)
TEXT ·retryExit(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ a+0(FP), R8
	MOVL $const_accessRetry, access_status(R8)
	RET

// func accessAddresses(t *accessTable)
TEXT ·accessAddresses(SB),NOSPLIT,$0-8
	MOVQ t+0(FP), R8
	LEAQ ·copyBytes(SB), AX
	MOVQ AX, accessTable_copyBytes(R8)
	LEAQ ·copyTail(SB), AX
	MOVQ AX, accessTable_copyTail(R8)
	LEAQ ·copyDone(SB), AX
	MOVQ AX, accessTable_copyDone(R8)
	LEAQ ·perform(SB), AX
	MOVQ AX, accessTable_perform(R8)
	LEAQ ·accessLoad32(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opLoad32)(R8)
	LEAQ ·accessLoad64(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opLoad64)(R8)
	LEAQ ·accessStore32(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opStore32)(R8)
	LEAQ ·accessStore64(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opStore64)(R8)
	LEAQ ·accessSwap32(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opSwap32)(R8)
	LEAQ ·accessSwap64(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opSwap64)(R8)
	LEAQ ·accessCas32(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opCas32)(R8)
	LEAQ ·accessCas64(SB), AX
	MOVQ AX, (accessTable_ops+8*const_opCas64)(R8)
	LEAQ ·faultExit(SB), AX
	MOVQ AX, accessTable_faultExit(R8)
	LEAQ ·retryExit(SB), AX
	MOVQ AX, accessTable_retryExit(R8)
	RET
