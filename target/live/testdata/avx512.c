#include <immintrin.h>
#include <stdio.h>

static char bytes[64], b0[64];
static int ints[16], i17[16];
static long longs[8], l31[8];
static unsigned long k;

int main(void)
{
	for (int i = 0; i < 64; i++)
		bytes[i] = i;
	for (int i = 0; i < 16; i++)
		ints[i] = i;
	for (int i = 0; i < 8; i++)
		longs[i] = i;
	asm volatile(
		"vmovdqu64 %4, %%zmm0\n vmovdqu64 %5, %%zmm17\n vmovdqu64 %6, %%zmm31\n mov $0xaaaaaaaa, %%eax\n kmovq %%rax, %%k3\n"
		".globl filled\nfilled: nop\n"
		"vmovdqu64 %%zmm0, %0\n vmovdqu64 %%zmm17, %1\n vmovdqu64 %%zmm31, %2\n kmovq %%k3, %3\n"
		: "=m"(b0), "=m"(i17), "=m"(l31), "=m"(k)
		: "m"(bytes), "m"(ints), "m"(longs)
		: "rax", "xmm0", "xmm17", "xmm31", "k3");
	printf("zmm17[15] %d k3 %#lx zmm31[0] %ld zmm0[63] %d\n", i17[15], k, l31[0], b0[63]);
	return 0;
}
