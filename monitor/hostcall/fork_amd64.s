#include "textflag.h"
#include "go_asm.h"

#define SYS_exit_group 231
#define SYS_getpid     39
#define SYS_kill       62
#define SIGKILL        9

// func forkRestart(c *childStart) (pid uintptr)
//
// The clone, and in the child the list of system calls that turns it into a process in which no Go code has run yet, then
// the binary's entry point. The child uses no stack until it has its new one, and nothing of the Go heap but c and the
// list, which lie in memory that it keeps. A call of the list that fails leaves the child without a way on: it ends by
// SIGKILL, as Linux ends a process for which it lacks memory in the middle of execve.
TEXT ·forkRestart(SB),NOSPLIT|NOFRAME,$0-16
	MOVQ c+0(FP), R12
	MOVQ (childStart_clone+step_nr)(R12), AX
	MOVQ (childStart_clone+step_args+0)(R12), DI
	MOVQ (childStart_clone+step_args+8)(R12), SI
	MOVQ (childStart_clone+step_args+16)(R12), DX
	MOVQ (childStart_clone+step_args+24)(R12), R10
	MOVQ (childStart_clone+step_args+32)(R12), R8
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, pid+8(FP)
	RET

child:
	MOVQ childStart_sp(R12), SP
	MOVQ childStart_steps(R12), R13
	MOVQ childStart_n(R12), R14

next:
	TESTQ R14, R14
	JZ   done
	MOVQ step_nr(R13), AX
	MOVQ (step_args+0)(R13), DI
	MOVQ (step_args+8)(R13), SI
	MOVQ (step_args+16)(R13), DX
	MOVQ (step_args+24)(R13), R10
	MOVQ (step_args+32)(R13), R8
	MOVQ (step_args+40)(R13), R9
	SYSCALL
	CMPQ AX, $-4095
	JCC  failed
	ADDQ $step__size, R13
	DECQ R14
	JMP  next

done:
	CLD
	MOVQ childStart_zero(R12), DI
	MOVQ childStart_zeroLen(R12), CX
	XORL AX, AX
	REP; STOSB
	XORL DX, DX
	MOVQ childStart_entry(R12), AX
	JMP  AX

failed:
	JMP  ·killSelf(SB)

// killSelf ends the process by SIGKILL. It needs no stack and no g.
TEXT ·killSelf(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $SYS_getpid, AX
	SYSCALL
	MOVQ AX, DI
	MOVQ $SIGKILL, SI
	MOVQ $SYS_kill, AX
	SYSCALL
	MOVQ $SYS_exit_group, AX
	MOVQ $1, DI
	SYSCALL
	INT  $3
