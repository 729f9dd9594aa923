#include <stdio.h>
volatile unsigned long counter;
int main(int argc, char **argv)
{
	if (argc > 1)
		puts("spinning"), fflush(stdout);
	for (;;)
		counter++;
}
