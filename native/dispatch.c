/* Which code path this processor gets. Plain function tables and __builtin_cpu_supports instead of ifunc: musl has
 * none. */
#include <stdatomic.h>

#include "kernels.h"

static _Atomic(const struct kernels *) chosen = &relay_kernels_c;

const struct kernels *relay_kernels(void) { return atomic_load_explicit(&chosen, memory_order_acquire); }

static const struct kernels *best(int highest_simd) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (highest_simd >= RELAY_SIMD_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &relay_kernels_avx2;
    if (highest_simd >= RELAY_SIMD_SSE2) return &relay_kernels_sse2; /* part of every x86-64 */
#elif defined(__aarch64__)
    if (highest_simd >= RELAY_SIMD_NEON) return &relay_kernels_neon; /* part of every AArch64 */
#endif
    (void)highest_simd;
    return &relay_kernels_c;
}

int relay_init(int highest_simd) {
    const struct kernels *kernels = best(highest_simd);
    atomic_store_explicit(&chosen, kernels, memory_order_release);
    return kernels->simd;
}
