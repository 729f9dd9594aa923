#include "parts.h"
#include <stdio.h>

int main(void) {
	long s = SUM(1000);
	printf("sum %ld\n", s);
	return (int)(s % 100);
}
