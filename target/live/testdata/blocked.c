#include <stdio.h>
#include <unistd.h>

int add(int a, int b) { return a + b; }

int main(void)
{
	char c = 0;
	puts("waiting"), fflush(stdout);
	long n = read(0, &c, 1);
	printf("read %ld '%c' add %d\n", n, c, add(1, 2));
	return 0;
}
