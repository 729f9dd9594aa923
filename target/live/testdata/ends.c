#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ends exit N | ends signal N | ends wait: waits for a signal and exits with its number */
static volatile int got;
static void take(int sig) { got = sig; }

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "exit"))
		return atoi(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "signal")) {
		signal(atoi(argv[2]), SIG_DFL);
		raise(atoi(argv[2]));
		return 99;
	}
	sigset_t all;
	sigfillset(&all);
	sigdelset(&all, SIGTSTP);
	sigdelset(&all, SIGCONT); /* blocked, sigwait would take it, too */
	sigprocmask(SIG_BLOCK, &all, 0);
	puts("waiting"), fflush(stdout);
	int sig;
	sigwait(&all, &sig);
	return sig;
}
