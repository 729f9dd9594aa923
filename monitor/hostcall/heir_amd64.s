#include "textflag.h"
#include "go_asm.h"

#define SYS_rt_sigprocmask 14
#define SYS_clone          56
#define SYS_exit           60
#define SYS_sigaltstack    131
#define SYS_arch_prctl     158
#define SYS_futex          202
#define SIG_SETMASK        2
#define ARCH_GET_FS        0x1003
#define FUTEX_WAIT         128 // with FUTEX_PRIVATE_FLAG
#define FUTEX_WAKE         129
// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS
#define THREAD_FLAGS       0xd0f00

// States of Heir.state.
#define WAITING 0
#define OFFERED 1
#define TAKEN   2
#define FAILED  3

// func offer(h *Heir)
//
// The calling kernel thread gives its stack, FS base, signal stack and mask to another one, which returns from here in its place,
// and ends. If that can't be made it returns itself. R12 is the *Heir. From OFFERED on this thread must not touch its stack: the
// other one may be on it already. So every signal is blocked, and it lives in its registers.
TEXT ·offer(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ h+0(FP), R12
	MOVQ SP, Heir_sp(R12)

	MOVQ $SYS_arch_prctl, AX
	MOVQ $ARCH_GET_FS, DI
	LEAQ Heir_fs(R12), SI
	SYSCALL
	MOVQ $SYS_sigaltstack, AX
	XORL DI, DI
	LEAQ Heir_stack(R12), SI
	SYSCALL
	MOVQ $-1, Heir_full(R12)
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $SIG_SETMASK, DI
	LEAQ Heir_full(R12), SI
	LEAQ Heir_mask(R12), DX
	MOVQ $8, R10
	SYSCALL

	MOVL $OFFERED, AX
	XCHGL AX, Heir_state(R12)
	MOVQ $SYS_futex, AX
	LEAQ Heir_state(R12), DI
	MOVQ $FUTEX_WAKE, SI
	MOVQ $1, DX
	SYSCALL

wait:
	MOVL Heir_state(R12), AX
	CMPL AX, $TAKEN
	JEQ  gone
	CMPL AX, $FAILED
	JEQ  stay
	MOVQ $SYS_futex, AX
	LEAQ Heir_state(R12), DI
	MOVQ $FUTEX_WAIT, SI
	MOVQ $OFFERED, DX
	XORL R10, R10
	SYSCALL
	JMP  wait

gone:
	MOVQ $SYS_exit, AX
	XORL DI, DI
	SYSCALL
	INT  $3

stay:
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $SIG_SETMASK, DI
	LEAQ Heir_mask(R12), SI
	XORL DX, DX
	MOVQ $8, R10
	SYSCALL
	RET

// func take(h *Heir)
//
// Waits for the offer and makes the thread that takes it, as a child of the calling one.
TEXT ·take(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ h+0(FP), R12

wait:
	MOVL Heir_state(R12), AX
	CMPL AX, $OFFERED
	JEQ  offered
	MOVQ $SYS_futex, AX
	LEAQ Heir_state(R12), DI
	MOVQ $FUTEX_WAIT, SI
	MOVQ $WAITING, DX
	XORL R10, R10
	SYSCALL
	JMP  wait

offered:
	MOVQ $SYS_clone, AX
	MOVQ $THREAD_FLAGS, DI
	MOVQ Heir_sp(R12), SI
	XORL DX, DX
	XORL R10, R10
	MOVQ Heir_fs(R12), R8
	SYSCALL
	TESTQ AX, AX
	JZ   child
	MOVQ AX, Heir_result(R12)
	JGT  out
	MOVL $FAILED, AX
	JMP  tell

// The new thread: SP and FS are the other's, registers still this one's.
child:
	MOVQ $SYS_sigaltstack, AX
	LEAQ Heir_stack(R12), DI
	XORL SI, SI
	SYSCALL
	MOVQ $SYS_rt_sigprocmask, AX
	MOVQ $SIG_SETMASK, DI
	LEAQ Heir_mask(R12), SI
	XORL DX, DX
	MOVQ $8, R10
	SYSCALL
	MOVL $TAKEN, AX

tell:
	XCHGL AX, Heir_state(R12)
	MOVQ $SYS_futex, AX
	LEAQ Heir_state(R12), DI
	MOVQ $FUTEX_WAKE, SI
	MOVQ $1, DX
	SYSCALL

out:
	RET
