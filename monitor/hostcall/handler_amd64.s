#include "textflag.h"
#include "go_asm.h"

#define SYS_rt_sigreturn 15

// Offsets in the kernel's struct ucontext (arch/x86/include/uapi/asm/ucontext.h, sigcontext.h); handler_unsafe.go has
// the same as a type.
#define UC_R12 72
#define UC_RBP 120
#define UC_RAX 144
#define UC_RSP 160
#define UC_RIP 168

#define EINTR          4
#define ERESTARTSYS    512
#define ERESTARTNOINTR 513

// sigHandler is the handler of every signal: DI signal, SI siginfo, DX ucontext, by the kernel's C convention, on the
// thread's signal stack, with every signal blocked.
//
// A signal in the blocking stub is recorded in the Block, and the handler leaves by a jump, without rt_sigreturn: the
// mask stays all blocked until ·restore puts the old one back, so exactly one signal is taken, and the kernel keeps the
// restart block of an interrupted nanosleep, poll or futex for restart_syscall. Nothing else of the interrupted context
// is live there: ABI0 preserves no register but SP and BP, and the kernel has put the vector state into its initial
// configuration, which is Go's.
TEXT ·sigHandler(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ UC_RIP(DX), AX
	LEAQ ·window+2(SB), CX
	CMPQ AX, CX
	JCS  elsewhere
	LEAQ ·restore+2(SB), CX
	CMPQ AX, CX
	JCC  elsewhere

	MOVQ UC_R12(DX), R12
	MOVOU 0(SI), X0
	MOVOU X0, (Block_info+0)(R12)
	MOVOU 16(SI), X0
	MOVOU X0, (Block_info+16)(R12)
	MOVOU 32(SI), X0
	MOVOU X0, (Block_info+32)(R12)
	MOVOU 48(SI), X0
	MOVOU X0, (Block_info+48)(R12)
	MOVOU 64(SI), X0
	MOVOU X0, (Block_info+64)(R12)
	MOVOU 80(SI), X0
	MOVOU X0, (Block_info+80)(R12)
	MOVOU 96(SI), X0
	MOVOU X0, (Block_info+96)(R12)
	MOVOU 112(SI), X0
	MOVOU X0, (Block_info+112)(R12)
	MOVL $1, Block_taken(R12)

	LEAQ ·issue(SB), CX
	MOVQ $-ERESTARTNOINTR, BX
	CMPQ AX, CX
	JLS  result    // not begun
	SUBQ CX, AX
	CMPQ AX, $3
	JHI  leave     // ended, and its result is in the Block
	MOVQ UC_RAX(DX), BX
	JEQ  result    // ended, its result is in RAX
	CMPQ BX, Block_nr(R12)
	MOVQ $-ERESTARTSYS, BX
	JEQ  result    // the kernel would restart it
	MOVQ $-EINTR, BX // the kernel was about to go on by restart_syscall, after a stop; a handler ends that with EINTR

result:
	MOVQ BX, Block_result(R12)

leave:
	MOVQ UC_RBP(DX), AX
	XCHGQ BP, AX // vet takes a MOVQ for a lost frame pointer
	MOVQ UC_RSP(DX), SP
	JMP  ·finish(SB)

elsewhere:
	ADJSP $56
	MOVQ DI, 0(SP)
	MOVQ SI, 8(SP)
	MOVQ DX, 16(SP)
	MOVQ DI, 32(SP)
	MOVQ SI, 40(SP)
	MOVQ DX, 48(SP)
	CALL ·handle(SB)
	MOVQ 24(SP), AX
	MOVQ 32(SP), DI
	MOVQ 40(SP), SI
	MOVQ 48(SP), DX
	ADJSP $-56
	TESTQ AX, AX
	JNZ  chain
	RET

chain:
	JMP  AX

// sigReturn is the SA_RESTORER of every handler.
TEXT ·sigReturn(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVQ $SYS_rt_sigreturn, AX
	SYSCALL
	INT  $3

// func handlerAddresses() (handler, restorer uintptr)
TEXT ·handlerAddresses(SB),NOSPLIT,$0-16
	LEAQ ·sigHandler(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·sigReturn(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

// func add32(p *uint32, delta uint32)
TEXT ·add32(SB),NOSPLIT,$0-12
	MOVQ p+0(FP), DI
	MOVL delta+8(FP), AX
	LOCK
	ADDL AX, (DI)
	RET
