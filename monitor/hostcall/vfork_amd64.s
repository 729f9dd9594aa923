#include "textflag.h"
#include "go_asm.h"

#define SYS_write 1
#define EINTR     4

// func vforkBegin(v *Vfork) (pid uintptr)
//
// After the clone there are two tasks at this place with the same registers, memory and stack. The parent sleeps in the
// kernel until the child is gone; the child goes on as this goroutine. When the parent wakes, its stack pointer belongs to
// a frame that may be gone, and to a stack that may have moved: it goes on where the child has left (vforkLeave). No
// register but SP and BP means anything to an ABI0 caller, and g is in thread-local storage, the same for both.
TEXT ·vforkBegin(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ v+0(FP), R12
	MOVQ (Vfork_clone+step_nr)(R12), AX
	MOVQ (Vfork_clone+step_args+0)(R12), DI
	MOVQ (Vfork_clone+step_args+8)(R12), SI
	MOVQ (Vfork_clone+step_args+16)(R12), DX
	MOVQ (Vfork_clone+step_args+24)(R12), R10
	MOVQ (Vfork_clone+step_args+32)(R12), R8
	SYSCALL
	CMPQ AX, $0
	JGT  parent
	MOVQ AX, pid+8(FP)
	RET

parent:
	MOVQ AX, Vfork_pid(R12)
	MOVQ Vfork_sp(R12), CX
	TESTQ CX, CX
	JZ   lost
	MOVQ Vfork_bp(R12), AX
	XCHGQ BP, AX // vet takes a MOVQ for a lost frame pointer
	MOVQ CX, SP
	MOVL $1, Vfork_ended(R12)
	MOVQ Vfork_result(R12), CX
	TESTQ CX, CX
	JZ   2(PC)
	MOVQ $-EINTR, (CX)
	RET // from vforkLeave, or from a Block's enter

lost:
	// The child was killed in the middle of the monitor's own code, with who knows what locked: nothing can go on.
	MOVQ $SYS_write, AX
	MOVQ $2, DI
	MOVQ ·vforkLost+0(SB), SI
	MOVQ ·vforkLost+8(SB), DX
	SYSCALL
	JMP  ·killSelf(SB)

// func vforkLeave(v *Vfork, call *step) (result uintptr)
//
// A system call of the child's after which it may be gone.
TEXT ·vforkLeave(SB),NOSPLIT|NOFRAME,$0-24
	MOVQ v+0(FP), R12
	MOVQ call+8(FP), R13
	MOVQ (step_args+0)(R13), DI
	MOVQ (step_args+8)(R13), SI
	MOVQ (step_args+16)(R13), DX
	MOVQ (step_args+24)(R13), R10
	MOVQ (step_args+32)(R13), R8
	MOVQ (step_args+40)(R13), R9
	MOVQ step_nr(R13), AX
	MOVQ BP, Vfork_bp(R12)
	MOVQ SP, Vfork_sp(R12)
	SYSCALL
	MOVQ $0, Vfork_sp(R12) // still here, still the child
	MOVQ AX, result+16(FP)
	RET
