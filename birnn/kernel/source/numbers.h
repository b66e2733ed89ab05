/* Vectors of float32, and the functions of them that are computed here.
 *
 * The same bits everywhere: a vector holds different outputs and never parts of one sum; every
 * multiply-add that is meant to be one is an explicit fma, rounded once; exp, log and tanh are
 * chains of these. So no result depends on LANES, which is the width of the CPU's vectors. Compile
 * with -ffp-contract=off and without -ffast-math, or the compiler fuses operations by itself.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline, unused))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
/* Keeps a weight in a register: gcc would read it from memory again for every row of a tile */
#if defined(__clang__) || !(defined(__SSE2__) || defined(__ARM_NEON))
#define IN_REGISTER(x)
#elif defined(__ARM_NEON)
#define IN_REGISTER(x) __asm__("" : "+w"(x))
#else
#define IN_REGISTER(x) __asm__("" : "+v"(x))
#endif
#if defined(__SSE2__) && !defined(__AVX512F__) && !defined(__clang__)
#undef IN_REGISTER
#define IN_REGISTER(x) __asm__("" : "+x"(x))
#endif

typedef ptrdiff_t isize;
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE isize least(isize a, isize b) { return a < b ? a : b; }
INLINE isize padded(isize count) { return (count + LANES - 1) / LANES * LANES; }

INLINE vec all(float x) { return x - (vec){0}; } /* minus zero keeps -0 */
INLINE vec load(const float *at) { return *(const loose *)at; }
INLINE void store(float *at, vec x) { *(loose *)at = x; }

/* The first `count` lanes, where less than a vector is there; 0 in the others */
#if LANES == 8 && defined(__FMA__)
INLINE __m256i first(isize count) {
    const ints lanes = {0, 1, 2, 3, 4, 5, 6, 7};
    return (__m256i)(lanes < (int32_t)count);
}
#endif
INLINE vec load_some(const float *at, isize count) {
    if (count >= LANES) return load(at);
#if LANES == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), at);
#elif LANES == 8 && defined(__FMA__)
    return (vec)_mm256_maskload_ps(at, first(count));
#else
    vec x = all(0.0f);
    memcpy(&x, at, sizeof(float) * (size_t)count);
    return x;
#endif
}
INLINE void store_some(float *at, vec x, isize count) {
    if (count >= LANES) {
        store(at, x);
        return;
    }
#if LANES == 16
    _mm512_mask_storeu_ps(at, (__mmask16)((1u << count) - 1), (__m512)x);
#elif LANES == 8 && defined(__FMA__)
    _mm256_maskstore_ps(at, first(count), (__m256)x);
#else
    memcpy(at, &x, sizeof(float) * (size_t)count);
#endif
}

/* A short row: a call of memcpy takes longer */
INLINE void copy_row(float *to, const float *from, isize width) {
    for (isize k = 0; k < width; k += LANES)
        store_some(to + k, load_some(from + k, width - k), width - k);
}

/* a b + c, rounded once, where the CPU cannot: the product of two floats is exact in a double, and
 * a sum that is rounded to odd there (Boldo and Melquiond, Emulation of FMA and Correctly Rounded
 * Sums, 2008) is rounded right when it becomes a float. */
INLINE float fma_in_software(float a, float b, float c) {
    double product = (double)a * b, sum = product + c, part = sum - product;
    double error = (product - (sum - part)) + (c - part);
    int64_t pattern;
    memcpy(&pattern, &sum, 8);
    if ((error < 0 || error > 0) && !(pattern & 1)) {
        pattern += (error > 0) == (sum > 0) ? 1 : -1;
        memcpy(&sum, &pattern, 8);
    }
    return (float)sum;
}

INLINE vec fma_(vec a, vec b, vec c) {
#if LANES == 16
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif LANES == 8 && defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    for (int lane = 0; lane < LANES; lane++)
        c[lane] = fma_in_software(a[lane], b[lane], c[lane]);
    return c;
#endif
}

/* max and min by comparison: the instructions treat NaN and -0 differently from CPU to CPU */
INLINE vec choose(ints mask, vec yes, vec no) {
    return (vec)(((ints)yes & mask) | ((ints)no & ~mask));
}
INLINE vec at_most(vec x, float limit) { return choose(x > all(limit), all(limit), x); }
INLINE vec at_least(vec x, float limit) { return choose(x < all(limit), all(limit), x); }

/* e^x = s (1 + p), s a power of two; for |x| <= 87. The polynomial is that of Cephes's expf. */
INLINE void powers(vec x, vec *s, vec *p) {
    const float shift = 12582912.0f; /* 1.5 x 2^23: adding it rounds to a whole number */
    vec shifted = fma_(x, all(1.44269504f), all(shift)), n = shifted - shift;
    vec r = fma_(n, all(-0.693359375f), x);
    r = fma_(n, all(2.12194440e-4f), r);
    vec q = all(1.9875691500e-4f);
    q = fma_(q, r, all(1.3981999507e-3f));
    q = fma_(q, r, all(8.3334519073e-3f));
    q = fma_(q, r, all(4.1665795894e-2f));
    q = fma_(q, r, all(1.6666665459e-1f));
    q = fma_(q, r, all(5.0000001201e-1f));
    *p = fma_(q, r * r, r);
    *s = (vec)(((bits)shifted << 23) + (127 << 23));
}

/* e^x for x <= 0; 0 below the smallest normal number, NaN for NaN */
INLINE vec exp_(vec x) {
    vec s, p;
    powers(at_least(x, -87.0f), &s, &p);
    return choose(x < all(-87.0f), all(0.0f), fma_(s, p, s));
}

/* The polynomial is that of Cephes's logf; x > 0 and normal, or infinity or NaN, which stay */
INLINE vec log_(vec x) {
    ints exponent = ((ints)x - 0x3f3504f3) >> 23; /* so that m is from sqrt(1/2) to sqrt(2) */
    vec m = (vec)((ints)x - (ints)((bits)exponent << 23)) - 1.0f;
    vec e = __builtin_convertvector(exponent, vec), y = all(7.0376836292e-2f);
    y = fma_(y, m, all(-1.1514610310e-1f));
    y = fma_(y, m, all(1.1676998740e-1f));
    y = fma_(y, m, all(-1.2420140846e-1f));
    y = fma_(y, m, all(1.4249322787e-1f));
    y = fma_(y, m, all(-1.6668057665e-1f));
    y = fma_(y, m, all(2.0000714765e-1f));
    y = fma_(y, m, all(-2.4999993993e-1f));
    y = fma_(y, m, all(3.3333331174e-1f));
    y = y * m * (m * m);
    y = fma_(e, all(-2.12194440e-4f), y);
    y = fma_(m * m, all(-0.5f), y);
    y = fma_(e, all(0.693359375f), m + y);
    return choose(x < all(__builtin_inff()), y, x);
}

INLINE vec sigmoid(vec x) {
    vec s, p;
    powers(at_least(at_most(-x, 87.0f), -87.0f), &s, &p);
    return 1.0f / (fma_(s, p, s) + 1.0f);
}

/* By e^(-2|x|) - 1, so that it is accurate near zero too */
INLINE vec tanh_(vec x) {
    ints sign = (ints)x & INT32_MIN;
    vec s, p, size = (vec)((ints)x ^ sign);
    powers(at_most(size, 10.0f) * -2.0f, &s, &p);
    vec less = fma_(s, p, s - 1.0f);
    return (vec)((ints)(-less / (less + 2.0f)) | sign);
}

/* A block of memory on a cache line, taken apart into arrays; NULL where there is none */
static void *space(isize bytes) {
    size_t wanted = (size_t)(bytes > 0 ? bytes : 64);
#ifdef _WIN32
    return _aligned_malloc(wanted, 64);
#else
    void *found = NULL;
    return posix_memalign(&found, 64, wanted) ? NULL : found;
#endif
}
static void give_back(void *block) {
#ifdef _WIN32
    _aligned_free(block);
#else
    free(block);
#endif
}
static float *floats(isize count) { return space(count * (isize)sizeof(float)); }
