/* What this CPU can do: the number of the best of the kernel's levels, counted from the oldest.
 *
 * By the instructions themselves: not every compiler's library can tell. */
#ifdef _WIN32
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
int birnn_level(void);

#if defined(__x86_64__)
#include <cpuid.h>

enum { OF_AVX = 0x06, OF_AVX512 = 0xe6 }; /* registers that the system saves */

static unsigned saved(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

int birnn_level(void) {
    unsigned a, b, c, d, b7 = 0, c1;
    if (!__get_cpuid(1, &a, &b, &c1, &d) || !__get_cpuid_count(7, 0, &a, &b7, &c, &d)) return 0;
    int fma = c1 >> 12 & 1, xsave = c1 >> 27 & 1, avx2 = b7 >> 5 & 1;
    int avx512 = (b7 >> 16 & 1) && (b7 >> 17 & 1) && (b7 >> 30 & 1) && (b7 >> 31 & 1); /* F DQ BW VL */
    if (!xsave || !fma || !avx2 || (saved() & OF_AVX) != OF_AVX) return 0;
    return avx512 && (saved() & OF_AVX512) == OF_AVX512 ? 2 : 1;
}
#else
int birnn_level(void) { return 0; }
#endif
