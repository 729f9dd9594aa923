// The running kernel's side of the differential tests (native_test.go): reads requests, lets a forked child take each
// one's signal in a stack arena at a fixed address, and writes back the registers, FP state and the whole arena.
//
// Build: gcc -O1 -static -no-pie -mno-red-zone. The structures are those of native_test.go, all fields 8 bytes.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t u64;
enum { READONLY = 0x1ff00000, BEYOND = 0x1fe00000, ARENA = 0x20000000, ARENA_SIZE = 0x10000, XS = 4096, LEVELS = 3, MUTATIONS = 16 };

struct regs { u64 r[18]; }; // in struct kvm_regs' order

struct mutation { u64 fp, off, size, value; }; // fp: relative to the FP state, else to the frame

struct request {
	u64 trigger, sig, sig2, sigreturn, depth, pending, entry;
	u64 flags, sa_mask, restorer, handler;
	u64 alt_set, alt_base, alt_size, alt_flags;
	u64 mask, rsp, rflags, features;
	u64 mutations;
	struct mutation mutation[MUTATIONS];
	uint8_t xs[XS];
};

struct level {
	struct regs before, after;
	u64 mask, alt_base, alt_flags, alt_size;
	uint8_t xs_before[XS], xs_after[XS];
};

struct reply {
	u64 status, levels, resumed;
	u64 pid, uid, handler, restorer, catcher;
	struct level level[LEVELS];
	uint8_t arena[ARENA_SIZE];
};

static struct request q;
static struct reply *out;
struct regs entry, preset;
uint8_t xs_entry[XS] __attribute__((aligned(64)));
uint8_t xs_preset[XS] __attribute__((aligned(64)));
uint8_t own_stack[65536] __attribute__((aligned(64)));
u64 target, features;
static u64 level_no;

void handler(void), restorer(void), catcher(void), resumed(void);
void go(void) __attribute__((noreturn));

// STORE stores all registers into `entry` without touching the stack that is current, and goes on in C on our own.
#define STORE(label, cfunc) \
	asm(".globl " #label "\n" #label ":\n" \
	    "mov %rax, entry(%rip)\n mov %rbx, entry+8(%rip)\n mov %rcx, entry+16(%rip)\n mov %rdx, entry+24(%rip)\n" \
	    "mov %rsi, entry+32(%rip)\n mov %rdi, entry+40(%rip)\n mov %rsp, entry+48(%rip)\n mov %rbp, entry+56(%rip)\n" \
	    "mov %r8, entry+64(%rip)\n mov %r9, entry+72(%rip)\n mov %r10, entry+80(%rip)\n mov %r11, entry+88(%rip)\n" \
	    "mov %r12, entry+96(%rip)\n mov %r13, entry+104(%rip)\n mov %r14, entry+112(%rip)\n mov %r15, entry+120(%rip)\n" \
	    "lea " #label "(%rip), %rax\n mov %rax, entry+128(%rip)\n" \
	    "lea own_stack+65536(%rip), %rsp\n" \
	    "pushfq\n popq entry+136(%rip)\n" \
	    "pushq $2\n popfq\n" \
	    "mov features(%rip), %eax\n mov features+4(%rip), %edx\n xsave64 xs_entry(%rip)\n" \
	    "fninit\n pushq $0x1f80\n ldmxcsr (%rsp)\n add $8, %rsp\n" \
	    "call " #cfunc "\n")

STORE(handler, on_handler);
STORE(catcher, on_catcher);
STORE(resumed, on_resumed);
asm(".globl restorer\nrestorer: mov $15, %eax\n syscall\n ud2\n");

// go loads `preset` and jumps to `target`.
asm(".globl go\ngo:\n"
    "mov features(%rip), %eax\n mov features+4(%rip), %edx\n xrstor64 xs_preset(%rip)\n"
    "pushq preset+136(%rip)\n"
    "mov preset(%rip), %rax\n mov preset+8(%rip), %rbx\n mov preset+16(%rip), %rcx\n mov preset+24(%rip), %rdx\n"
    "mov preset+32(%rip), %rsi\n mov preset+40(%rip), %rdi\n mov preset+56(%rip), %rbp\n"
    "mov preset+64(%rip), %r8\n mov preset+72(%rip), %r9\n mov preset+80(%rip), %r10\n mov preset+88(%rip), %r11\n"
    "mov preset+96(%rip), %r12\n mov preset+104(%rip), %r13\n mov preset+112(%rip), %r14\n mov preset+120(%rip), %r15\n"
    "popfq\n mov preset+48(%rip), %rsp\n jmp *target(%rip)\n");

// Triggers. Each has the address it starts at and the one its frame must name.
#define TRIGGER(n, insn, after) \
	void t_##n(void), t_##n##_rip(void); \
	asm(".globl t_" #n "\nt_" #n ":\n" \
	    insn "\n .globl t_" #n "_rip\nt_" #n "_rip:" after "\njmp resumed\n")
#define FAULT(n, insn) TRIGGER(n, "", insn)
#define TRAP(n, insn) TRIGGER(n, insn, "")

TRAP(call, "syscall");
FAULT(ud2, "ud2");
FAULT(div, "div %rbx");
TRAP(int3, "int3");
TRAP(int1, ".byte 0xf1");
TRAP(int4, "int $4");
FAULT(int32, "int $0x20");
FAULT(hlt, "hlt");
FAULT(load, "mov (%rbx), %rax");
FAULT(store, "movb $1, (%rbx)");
FAULT(stack, "mov (%rbp), %rax");
FAULT(jump, "jmp *%rbx");
FAULT(align, "mov 1(%rsp), %rax");
TRAP(step, "pushfq\n orl $0x100, (%rsp)\n popfq\n nop");
TRIGGER(x87, "fldz\n fld1\n fdiv %st(1), %st", "fwait");
FAULT(sse, "divss %xmm1, %xmm0");
FAULT(movaps, "movaps 1(%rbx), %xmm0");
FAULT(seg, "mov %ebx, %fs");

static const struct { void (*start)(void), (*rip)(void); } triggers[] = {
#define ROW(n) { t_##n, t_##n##_rip }
	ROW(call), ROW(ud2), ROW(div), ROW(int3), ROW(int1), ROW(int4), ROW(int32), ROW(hlt), ROW(load), ROW(store),
	ROW(stack), ROW(jump), ROW(align), ROW(step), ROW(x87), ROW(sse), ROW(movaps), ROW(seg),
};

struct ksigaction { u64 handler, flags, restorer, mask; };

static long raw(long nr, long a, long b, long c, long d) {
	long ret;
	register long r10 asm("r10") = d;
	asm volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}

static void done(void) {
	memcpy(out->arena, (void *)ARENA, ARENA_SIZE);
	raw(SYS_exit_group, 0, 0, 0, 0);
}

static void record_state(struct level *l) {
	stack_t alt;
	l->after = entry;
	memcpy(l->xs_after, xs_entry, XS);
	raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&l->mask, 8);
	raw(SYS_sigaltstack, 0, (long)&alt, 0, 0);
	l->alt_base = (u64)alt.ss_sp, l->alt_flags = (unsigned)alt.ss_flags, l->alt_size = alt.ss_size;
}

static void trigger(u64 rsp) {
	struct level *l = &out->level[level_no];
	u64 t = q.trigger;
	for (int i = 0; i < 16; i++)
		preset.r[i] = 0x1111111111111111u * (i + 1) ^ (level_no << 60);
	preset.r[1] = q.handler; // rbx: the operand of triggers that take one
	if (t == 2)
		preset.r[1] = 0;
	preset.r[7] = t == 10 ? 0x800000000000 : preset.r[7];
	preset.r[6] = rsp;
	preset.r[17] = q.rflags | 0x202;
	if (q.pending) {
		static u64 none;
		raw(SYS_tgkill, getpid(), getpid(), q.sig, 0);
		raw(SYS_tgkill, getpid(), getpid(), q.sig2, 0);
		preset.r[0] = SYS_rt_sigprocmask;
		preset.r[5] = SIG_SETMASK, preset.r[4] = (u64)&none, preset.r[3] = 0, preset.r[8] = 0, preset.r[10] = 8;
	} else if (t == 0) {
		preset.r[0] = SYS_tgkill;
		preset.r[5] = getpid(), preset.r[4] = getpid(), preset.r[3] = level_no && q.sig2 ? q.sig2 : q.sig;
	}
	memcpy(xs_preset, q.xs, XS);
	l->before = preset;
	l->before.r[16] = (u64)triggers[t].rip;
	// What the processor makes of it: some do not keep x87's pointers.
	memset(xs_entry, 0, XS);
	asm volatile("xrstor64 %1\n xsave64 %0" : "=m"(xs_entry) : "m"(xs_preset), "a"(features), "d"(features >> 32));
	memcpy(l->xs_before, xs_entry, XS);
	target = (u64)triggers[t].start;
	go();
}

static void mutate(void) {
	char *frame = (char *)entry.r[6];
	char *fp = *(char **)(frame + 8 + 40 + 184);
	for (u64 i = 0; i < q.mutations; i++) {
		struct mutation *m = &q.mutation[i];
		memcpy((m->fp ? fp : frame) + m->off, &m->value, m->size);
	}
}

void on_handler(void) {
	record_state(&out->level[level_no]);
	out->levels = ++level_no;
	if (q.pending || (q.sigreturn && level_no == 1)) {
		mutate();
		asm volatile("mov %0, %%rsp\n ret" :: "r"(entry.r[6]));
	}
	if (level_no < q.depth)
		trigger(entry.r[6] - 72);
	done();
}

// on_catcher is SIGSEGV's and SIGTRAP's handler after a sigreturn.
void on_catcher(void) {
	record_state(&out->level[level_no]);
	out->levels = ++level_no;
	done();
}

void on_resumed(void) {
	record_state(&out->level[level_no]);
	out->levels = ++level_no;
	out->resumed = 1;
	done();
}

static void child(void) {
	u64 mask = q.mask;
	features = q.features;
	out->pid = getpid(), out->uid = getuid();
	mmap((void *)ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset((void *)ARENA, 0xa5, ARENA_SIZE);
	mmap((void *)READONLY, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	(void)*(volatile char *)READONLY; // so that the page is present
	mmap((void *)BEYOND, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, memfd_create("empty", 0), 0);
	struct ksigaction act = { q.entry ? q.entry : (u64)handler, q.flags, (u64)restorer, q.sa_mask };
	raw(SYS_rt_sigaction, q.sig, (long)&act, 0, 8);
	if (q.sig2)
		raw(SYS_rt_sigaction, q.sig2, (long)&act, 0, 8);
	if (q.sigreturn) {
		struct ksigaction c = { (u64)catcher, SA_SIGINFO | SA_ONSTACK | 0x04000000, (u64)restorer, 0 };
		raw(SYS_rt_sigaction, SIGSEGV, (long)&c, 0, 8);
		raw(SYS_rt_sigaction, SIGTRAP, (long)&c, 0, 8);
	}
	stack_t alt = { 0, SS_DISABLE, 0 }; // execve has kept the parent's flags
	if (q.alt_set)
		alt = (stack_t){ (void *)q.alt_base, (int)q.alt_flags, q.alt_size };
	if (raw(SYS_sigaltstack, (long)&alt, 0, 0, 0))
		_exit(99);
	raw(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8);
	if (q.trigger == 16)
		q.handler = ARENA;
	trigger(q.rsp);
}

static int all(int fd, void *p, size_t n, int reading) {
	char *b = p;
	while (n) {
		ssize_t k = reading ? read(fd, b, n) : write(fd, b, n);
		if (k <= 0)
			return 0;
		b += k, n -= k;
	}
	return 1;
}

int main(void) {
	out = mmap(0, sizeof *out, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	while (all(0, &q, sizeof q, 1)) {
		memset(out, 0, sizeof *out);
		out->handler = (u64)handler, out->restorer = (u64)restorer, out->catcher = (u64)catcher;
		pid_t pid = fork();
		if (pid == 0)
			child();
		int status;
		waitpid(pid, &status, 0);
		out->status = status;
		if (!all(1, out, sizeof *out, 0))
			return 1;
	}
	return 0;
}
