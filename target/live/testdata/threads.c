#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX 200
__thread int slot;
static volatile int go;
static pthread_barrier_t set, barrier;
static long sums[MAX];

void hit(int n) { sums[n]++; }

static void *work(void *arg)
{
	slot = (int)(long)arg;
	pthread_barrier_wait(&set);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 3; i++)
		hit(slot);
	while (!go)
		usleep(1000);
	return 0;
}

void ready(void) {}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 4;
	pthread_t t[MAX];
	pthread_barrier_init(&set, 0, n + 1);
	pthread_barrier_init(&barrier, 0, n + 1);
	slot = 1000;
	for (long i = 0; i < n; i++)
		pthread_create(&t[i], 0, work, (void *)i);
	pthread_barrier_wait(&set);
	ready();
	pthread_barrier_wait(&barrier);
	go = 1;
	long total = 0;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], 0), total += sums[i];
	printf("total %ld\n", total);
	return total == 3 * n ? 0 : 1;
}
