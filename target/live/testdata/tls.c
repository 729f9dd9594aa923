#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

extern __thread long lib_tls;
long lib_touch(void);
__thread char name[24] = "main program";

void here(void) {}

static void *work(void *dl)
{
	strcpy(name, "a thread");
	lib_touch();
	if (dl) {
		long (*touch)(void) = (long (*)(void))dlsym(dl, "dl_touch");
		touch();
		here();
	}
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t t;
	void *dl = argc > 1 ? dlopen(argv[1], RTLD_NOW) : 0;
	if (argc > 1 && !dl)
		return puts(dlerror()), 1;
	lib_tls = 70;
	here();
	pthread_create(&t, 0, work, dl);
	pthread_join(t, 0);
	return 0;
}
