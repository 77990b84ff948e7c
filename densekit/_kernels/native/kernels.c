/* Loops of densekit's fast path, for float and double, as a plain shared library.
 *
 * Arrays have features first, (n_features, n_rows), so that every inner loop is over rows and
 * becomes vector instructions. Each function has a plain twin in torch. Nothing here allocates
 * but for tables of its own, keeps state, or starts threads.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* One copy of each function for each width of vectors, chosen when the library is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define API EXPORT __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define API EXPORT
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#define BLOCK 128
#define LANES 16 /* of a sum, so that it can be taken by vectors in an order that is always the same */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

typedef int64_t idx;

/* Exponential and logarithm to a unit in the last place or two: the polynomials of the Cephes
 * library (Moshier 1989), without branches. Comparisons this way round let a NaN pass. */

INLINE float exp_f(float x)
{
    x = x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x);
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the integer is in the low bits */
    int32_t power;
    memcpy(&power, &shifted, 4);
    power -= 0x4B400000;
    float n = shifted - 12582912.0f;
    float rest = x - n * 0.693359375f - n * -2.12194440e-4f;
    float series = 1.9875691500e-4f;
    series = series * rest + 1.3981999507e-3f;
    series = series * rest + 8.3334519073e-3f;
    series = series * rest + 4.1665795894e-2f;
    series = series * rest + 1.6666665459e-1f;
    series = series * rest + 0.5f;
    int32_t bits = (int32_t)((uint32_t)(power + 127) << 23);
    float scale;
    memcpy(&scale, &bits, 4);
    return (series * rest * rest + rest + 1.0f) * scale;
}

INLINE float log_f(float x)
{
    int32_t bits;
    memcpy(&bits, &x, 4);
    int32_t power = (bits - 0x3F3504F3) >> 23;
    int32_t mantissa = bits - (int32_t)((uint32_t)power << 23);
    float rest;
    memcpy(&rest, &mantissa, 4);
    rest -= 1.0f;
    float n = (float)power;
    float series = 7.0376836292e-2f;
    series = series * rest - 1.1514610310e-1f;
    series = series * rest + 1.1676998740e-1f;
    series = series * rest - 1.2420140846e-1f;
    series = series * rest + 1.4249322787e-1f;
    series = series * rest - 1.6668057665e-1f;
    series = series * rest + 2.0000714765e-1f;
    series = series * rest - 2.4999993993e-1f;
    series = series * rest + 3.3333331174e-1f;
    float tail = series * rest * rest * rest + n * -2.12194440e-4f - 0.5f * rest * rest;
    /* Infinity and NaN have bits too; their difference with themselves is NaN. */
    return rest + tail + n * 0.693359375f + (x - x);
}

INLINE double exp_d(double x)
{
    x = x < -708.0 ? -708.0 : (x > 709.0 ? 709.0 : x);
    double shifted = x * 1.4426950408889634 + 6755399441055744.0; /* 1.5 * 2^52 */
    int64_t power;
    memcpy(&power, &shifted, 8);
    power -= INT64_C(0x4338000000000000);
    double n = shifted - 6755399441055744.0;
    double rest = x - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6;
    double square = rest * rest;
    double top = 1.26177193074810590878e-4;
    top = top * square + 3.02994407707441961300e-2;
    top = (top * square + 9.99999999999999999910e-1) * rest;
    double bottom = 3.00198505138664455042e-6;
    bottom = bottom * square + 2.52448340349684104192e-3;
    bottom = bottom * square + 2.27265548208155028766e-1;
    bottom = bottom * square + 2.00000000000000000005e0;
    double ratio = top / (bottom - top);
    int64_t bits = (int64_t)((uint64_t)(power + 1023) << 52);
    double scale;
    memcpy(&scale, &bits, 8);
    return (1.0 + (ratio + ratio)) * scale;
}

INLINE double log_d(double x)
{
    int64_t bits;
    memcpy(&bits, &x, 8);
    /* The mantissa is brought to [sqrt(1/2), sqrt(2)). */
    int64_t offset = bits - INT64_C(0x3FE6A09E667F3BCD);
    int64_t mantissa = bits - (int64_t)((uint64_t)offset & UINT64_C(0xFFF0000000000000));
    /* The exponent as a double, by arithmetic that vectors of 64-bit integers have. */
    uint64_t biased = ((uint64_t)offset >> 52) ^ UINT64_C(0x800);
    biased = (biased & UINT64_C(0xFFF)) | UINT64_C(0x4330000000000000);
    double n;
    memcpy(&n, &biased, 8);
    n -= 4503599627370496.0 + 2048.0;
    double rest;
    memcpy(&rest, &mantissa, 8);
    rest -= 1.0;
    double square = rest * rest;
    double top = 1.01875663804580931796e-4;
    top = top * rest + 4.97494994976747001425e-1;
    top = top * rest + 4.70579119878881725854e0;
    top = top * rest + 1.44989225341610930846e1;
    top = top * rest + 1.79368678507819816313e1;
    top = top * rest + 7.70838733755885391666e0;
    double bottom = rest + 1.12873587189167450590e1;
    bottom = bottom * rest + 4.52279145837532221105e1;
    bottom = bottom * rest + 8.29875266912776603211e1;
    bottom = bottom * rest + 7.11544750618563894466e1;
    bottom = bottom * rest + 2.31251620126765340583e1;
    double tail = rest * (square * top / bottom) - n * 2.121944400546905827679e-4;
    tail -= 0.5 * square;
    return rest + tail + n * 0.693359375 + (x - x);
}

INLINE float size_f(float x) { return fabsf(x); }
INLINE double size_d(double x) { return fabs(x); }
INLINE float root_f(float x) { return sqrtf(x); }
INLINE double root_d(double x) { return sqrt(x); }

/* The build compiles this file twice, side by side. */
#ifdef REAL_DOUBLE
#define REAL double
#define NAME(name) name##_d
#define TINY 2.2250738585072014e-308
#include "kernels.inc"
#else
#define REAL float
#define NAME(name) name##_f
#define TINY 1.17549435e-38f
#include "kernels.inc"

/* The gate of PixelCNN, tanh(a) * sigmoid(b), of float and of bfloat16, which are the upper halves
 * of floats. It never shuts so far that it would make numbers below the normal range. */

INLINE float share_f(float x)
{
    x = x < -40.0f ? -40.0f : (x > 40.0f ? 40.0f : x);
    return 1.0f / (1.0f + exp_f(-x));
}

INLINE float tanh_f(float x)
{
    float share = share_f(x + x);
    return share + share - 1.0f;
}

INLINE float widened(int16_t bits)
{
    int32_t wide = (int32_t)((uint32_t)(uint16_t)bits << 16);
    float x;
    memcpy(&x, &wide, 4);
    return x;
}

INLINE int16_t narrowed(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (int16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

API void gate_f(idx n_rows, idx width, const float *restrict x, float *restrict z)
{
    for (idx row = 0; row < n_rows; row++) {
        const float *a = x + row * 2 * width, *b = a + width;
        for (idx i = 0; i < width; i++)
            z[row * width + i] = tanh_f(a[i]) * share_f(b[i]);
    }
}

API void gate_h(idx n_rows, idx width, const int16_t *restrict x, int16_t *restrict z)
{
    for (idx row = 0; row < n_rows; row++) {
        const int16_t *a = x + row * 2 * width, *b = a + width;
        for (idx i = 0; i < width; i++)
            z[row * width + i] = narrowed(tanh_f(widened(a[i])) * share_f(widened(b[i])));
    }
}

API void grad_gate_f(idx n_rows, idx width, const float *restrict x, const float *restrict grad_z,
                     float *restrict grad_x)
{
    for (idx row = 0; row < n_rows; row++) {
        const float *a = x + row * 2 * width, *b = a + width, *g = grad_z + row * width;
        float *grad_a = grad_x + row * 2 * width, *grad_b = grad_a + width;
        for (idx i = 0; i < width; i++) {
            float value = tanh_f(a[i]), share = share_f(b[i]), of_value = g[i] * share;
            grad_a[i] = of_value * (1.0f - value * value);
            grad_b[i] = of_value * value * (1.0f - share);
        }
    }
}

API void grad_gate_h(idx n_rows, idx width, const int16_t *restrict x,
                     const int16_t *restrict grad_z, int16_t *restrict grad_x)
{
    for (idx row = 0; row < n_rows; row++) {
        const int16_t *a = x + row * 2 * width, *b = a + width, *g = grad_z + row * width;
        int16_t *grad_a = grad_x + row * 2 * width, *grad_b = grad_a + width;
        for (idx i = 0; i < width; i++) {
            float value = tanh_f(widened(a[i])), share = share_f(widened(b[i]));
            float of_value = widened(g[i]) * share;
            grad_a[i] = narrowed(of_value * (1.0f - value * value));
            grad_b[i] = narrowed(of_value * value * (1.0f - share));
        }
    }
}
#endif
