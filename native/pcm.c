/* The level of what was sent. The kernels add up while they convert (kernels.h); here the sums become dBFS, which
 * happens rarely. */
#include <math.h>

#include "kernels.h"

#define SILENCE_DBFS (-120.0)

static double dbfs(double amplitude) {
    const double level = amplitude > 0.0 ? 20.0 * log10(amplitude / 32768.0) : SILENCE_DBFS;
    return level > SILENCE_DBFS ? level : SILENCE_DBFS;
}

ptrdiff_t relay_level_read(struct level_sum *sum, double level[2], int clear) {
    const ptrdiff_t count = (ptrdiff_t)sum->count;
    level[0] = dbfs(count ? sqrt((double)sum->square / (double)count) : 0.0);
    level[1] = dbfs((double)sum->peak);
    if (clear) *sum = (struct level_sum){0};
    return count;
}
