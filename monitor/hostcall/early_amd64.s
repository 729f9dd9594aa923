#include "textflag.h"
#include "go_asm.h"

#define SYS_close       3
#define SYS_madvise     28
#define SYS_clone       56
#define SYS_exit        60
#define SYS_prctl       157
#define SYS_fcntl       72
#define F_DUPFD_CLOEXEC 1030
#define POPULATE_WRITE  23
#define SET_TIMERSLACK  29
#define GET_TIMERSLACK  30
#define CALM            2000000 // ns

// CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|PARENT_SETTID|CHILD_CLEARTID
#define THREAD 0x350f00

#define LOAD(i, reg) \
	MOVQ (EarlyCall_Args+i*EarlyArg__size+EarlyArg_Value)(R12), reg; \
	ADDQ (EarlyCall_Args+i*EarlyArg__size+EarlyArg_Addr)(R12), reg; \
	MOVQ (EarlyCall_Args+i*EarlyArg__size+EarlyArg_From)(R12), AX; \
	TESTQ AX, AX; \
	JEQ  2(PC); \
	ADDQ (AX), reg

// func populateData()
//
// Gives the process its pages of the binary's data: written one by one while a second thread runs, each costs that thread's CPU an
// interrupt as well. It needs no g and changes BX and R15 not. Where the kernel can't (before Linux 5.14) the faults remain.
TEXT ·populateData(SB),NOSPLIT|NOFRAME,$0-0
	LEAQ runtime·noptrdata(SB), DI
	ANDQ $~4095, DI
	LEAQ runtime·end(SB), SI
	ADDQ $4095, SI
	ANDQ $~4095, SI
	SUBQ DI, SI
	MOVQ $POPULATE_WRITE, DX
	MOVQ $SYS_madvise, AX
	SYSCALL
	RET

// func calmSysmon()
//
// The runtime's first thread, sysmon, wakes every 20 µs while there is something to do, which costs a CPU and, since it shares the
// memory, an interrupt for each page that another thread writes first. It takes over the timer slack of the thread that starts it,
// which is this one: the kernel may then wake it that much later. Package initialisation sets this thread's back. Payload threads are
// no children of the runtime's (Heir). It needs no g and changes BX and R15 not.
TEXT ·calmSysmon(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $SYS_prctl, AX
	MOVQ $GET_TIMERSLACK, DI
	SYSCALL
	CMPQ AX, $CALM
	JCC  out // an error too
	MOVQ AX, ·startSlack(SB)
	MOVQ $SYS_prctl, AX
	MOVQ $SET_TIMERSLACK, DI
	MOVQ $CALM, SI
	SYSCALL

out:
	RET

// func startEarly()
//
// The thread has no g, no TLS and every signal blocked. It uses registers only, and ends at the first call that fails.
TEXT ·startEarly(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ $SYS_clone, AX
	MOVQ $THREAD, DI
	LEAQ ·earlyStack+(64*8)(SB), SI
	LEAQ ·earlyThread(SB), DX
	MOVQ DX, R10
	XORL R8, R8
	SYSCALL
	TESTQ AX, AX
	JEQ  thread
	JLT  out
	MOVL $1, ·earlyStarted(SB)

out:
	RET

thread:
	MOVQ ·earlyCalls+0(SB), R12
	MOVQ ·earlyCalls+8(SB), R13

next:
	TESTQ R13, R13
	JEQ  done
	LOAD(0, DI)
	LOAD(1, SI)
	LOAD(2, DX)
	LOAD(3, R10)
	LOAD(4, R8)
	LOAD(5, R9)
	MOVQ EarlyCall_Nr(R12), AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  exit
	CMPQ EarlyCall_NewFD(R12), $0
	JEQ  store

	MOVQ AX, R14
	MOVQ AX, DI
	MOVQ $F_DUPFD_CLOEXEC, SI
	MOVQ ·fdBound(SB), DX
	MOVQ $SYS_fcntl, AX
	SYSCALL
	MOVQ AX, R9
	MOVQ R14, DI
	MOVQ $SYS_close, AX
	SYSCALL
	MOVQ R9, AX
	CMPQ AX, $-4095
	JCC  exit

store:
	MOVQ EarlyCall_Out(R12), CX
	TESTQ CX, CX
	JEQ  stored
	MOVQ AX, (CX)

stored:
	ADDQ $EarlyCall__size, R12
	DECQ R13
	JMP  next

done:
	MOVL $1, ·earlyDone(SB)

exit:
	XORL DI, DI
	MOVQ $SYS_exit, AX
	SYSCALL
	INT  $3
