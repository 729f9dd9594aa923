// The running kernel's side of the system call tests (sys_test.go): executes the signal system calls that it is sent, one
// after the other in one process, on a memory image at a fixed address, and sends result and memory back.
//
// Build: gcc -O1 -static -no-pie.
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ARENA = 0x20000000, SIZE = 512 };

struct call {
	uint64_t nr, arg[4], rsp;
	uint8_t memory[SIZE];
};

struct result {
	int64_t ret;
	uint8_t memory[SIZE];
};

// call executes the system call with the stack pointer at rsp, for sigaltstack looks at it.
static int64_t call(const struct call *c) {
	int64_t ret;
	register uint64_t r10 asm("r10") = c->arg[3];
	register uint64_t rsp asm("r12") = c->rsp;
	asm volatile("mov %%rsp, %%r13\n mov %%r12, %%rsp\n syscall\n mov %%r13, %%rsp"
		     : "=a"(ret) : "0"(c->nr), "D"(c->arg[0]), "S"(c->arg[1]), "d"(c->arg[2]), "r"(r10), "r"(rsp)
		     : "rcx", "r11", "r13", "memory");
	return ret;
}

int main(void) {
	static struct call c;
	static struct result r;
	stack_t none = { 0, SS_DISABLE, 0 };
	sigaltstack(&none, 0); // execve keeps the flags
	uint64_t zero = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &zero, 0, 8);
	void *arena = mmap((void *)ARENA, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	while (read(0, &c, sizeof c) == sizeof c) {
		memcpy(arena, c.memory, SIZE);
		r.ret = call(&c);
		memcpy(r.memory, arena, SIZE);
		if (write(1, &r, sizeof r) != sizeof r)
			return 1;
	}
	return 0;
}
