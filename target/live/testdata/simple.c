#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__thread int tls_variable = 42;
volatile int glob;
double value = 1.5;

static void handler(int sig) { glob += sig; }

int add(int a, int b)
{
	int sum = a + b;
	return sum;
}

int main(void)
{
	struct sigaction sa;
	memset(&sa, 0, sizeof sa);
	sa.sa_handler = handler;
	sigaction(SIGUSR1, &sa, 0);
	asm volatile("movups %0, %%xmm0" : : "m"(*(char (*)[16])"0123456789abcdef") : "xmm0");
	glob = add(1, 2);
	glob++;
	glob++;
	tls_variable++;
	raise(SIGUSR1);
	printf("glob %d tls %d\n", glob, tls_variable);
	return 3;
}
