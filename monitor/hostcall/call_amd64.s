#include "textflag.h"
#include "go_asm.h"

#define SYS_rt_sigprocmask 14
#define SIG_SETMASK        2

// The blocking stub. Its parts are TEXT symbols of their own so that the handler can name addresses inside it; they lie
// one after the other (checkLayout). R12 is the *Block throughout. SYSCALL clobbers RCX and R11 only.
//
//	window+0   rt_sigprocmask: opens the signals
//	window+2   a signal from here on is taken by the handler …
//	issue+0    the payload's call, not begun
//	issue+1    where the kernel puts RIP to restart the call: it steps back over the two bytes of SYSCALL, and the REX
//	           prefix makes that an address of its own
//	issue+3    the call has ended, its result is in RAX
//	finish     rt_sigprocmask: closes them
//	restore+2  … up to here

// func enter(b *Block)
TEXT ·enter(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ b+0(FP), R12
	MOVQ Block_vfork(R12), R13
	TESTQ R13, R13
	JNZ  vforked

call:
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $SIG_SETMASK, DI
	LEAQ Block_mask(R12), SI
	LEAQ Block_old(R12), DX
	MOVQ $8, R10
	JMP  ·window(SB)

vforked: // if the child is killed from here on, the parent returns in its place
	LEAQ Block_result(R12), AX
	MOVQ AX, Vfork_result(R13)
	MOVQ BP, Vfork_bp(R13)
	MOVQ SP, Vfork_sp(R13)
	JMP  call

// func window()
TEXT ·window(SB),NOSPLIT|NOFRAME,$0-0
	SYSCALL
	MOVQ Block_nr(R12), AX
	MOVQ (Block_args+0)(R12), DI
	MOVQ (Block_args+8)(R12), SI
	MOVQ (Block_args+16)(R12), DX
	MOVQ (Block_args+24)(R12), R10
	MOVQ (Block_args+32)(R12), R8
	MOVQ (Block_args+40)(R12), R9
	JMP  ·issue(SB)

// func issue()
TEXT ·issue(SB),NOSPLIT|NOFRAME,$0-0
	BYTE $0x48
	SYSCALL
	MOVQ AX, Block_result(R12)
	JMP  ·finish(SB)

// func finish()
TEXT ·finish(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $SIG_SETMASK, DI
	LEAQ Block_old(R12), SI
	XORL DX, DX
	MOVQ $8, R10
	JMP  ·restore(SB)

// func restore()
TEXT ·restore(SB),NOSPLIT|NOFRAME,$0-0
	SYSCALL
	MOVQ Block_vfork(R12), R13
	TESTQ R13, R13
	JNZ  alive
	RET

alive:
	MOVQ $0, Vfork_sp(R13)
	MOVQ $0, Vfork_result(R13)
	RET

// func stubAddresses() (enter, window, issue, finish, restore uintptr)
TEXT ·stubAddresses(SB),NOSPLIT,$0-40
	LEAQ ·enter(SB), AX
	MOVQ AX, enter+0(FP)
	LEAQ ·window(SB), AX
	MOVQ AX, window+8(FP)
	LEAQ ·issue(SB), AX
	MOVQ AX, issue+16(FP)
	LEAQ ·finish(SB), AX
	MOVQ AX, finish+24(FP)
	LEAQ ·restore(SB), AX
	MOVQ AX, restore+32(FP)
	RET
