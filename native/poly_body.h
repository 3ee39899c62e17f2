/* The walk over phases, shared by every level. Before including it a level defines
 *   GROUP              outputs that it computes together
 *   dot_group(sum, x, h, taps)   sum[g] = x[g][0..taps) . h[g][0..taps) for g < GROUP, each sum by itself always in the
 *                      same order, so that it does not matter which outputs share a group.
 */

/* Where one output reads, and what: samples from x, a row of taps, and how far to go towards the next row. */
struct poly_walk {
    const float *src;
    uint32_t phase;
};

static inline void walk_on(struct poly_walk *walk, const struct poly_job *job) {
    uint64_t next = (uint64_t)walk->phase + job->down;
    walk->src += next / job->up;
    walk->phase = (uint32_t)(next % job->up);
}

static void poly_exact(float *dst, const float *src, const struct poly_job *job, size_t n) {
    /* down/up split once, so that a step is an addition and a comparison */
    const uint32_t step = job->down / job->up, rest = job->down % job->up;
    uint32_t phase = job->phase;
    for (size_t k = 0; k < n; k += GROUP) {
        const float *x[GROUP], *h[GROUP];
        float sum[GROUP];
        const size_t count = n - k < GROUP ? n - k : GROUP;
        for (size_t g = 0; g < GROUP; g++) {
            x[g] = src; /* past the end of the job, the last output again: nothing outside is read */
            h[g] = job->coef + (size_t)phase * job->taps;
            if (g + 1 >= count && k + GROUP >= n) continue;
            src += step;
            phase += rest;
            if (phase >= job->up) {
                phase -= job->up;
                src++;
            }
        }
        dot_group(sum, x, h, job->taps);
        memcpy(dst + k, sum, count * sizeof *sum);
    }
}

/* Too many phases for a table: the two nearest of `rows` rows, and a straight line between their results. */
static void poly_between(float *dst, const float *src, const struct poly_job *job, size_t n) {
    struct poly_walk walk = {src, job->phase};
    for (size_t k = 0; k < n; k += GROUP / 2) {
        const float *x[GROUP], *h[GROUP];
        float sum[GROUP], part[GROUP / 2];
        const size_t count = n - k < GROUP / 2 ? n - k : GROUP / 2;
        for (size_t g = 0; g < GROUP / 2; g++) {
            const uint64_t place = (uint64_t)walk.phase * job->rows;
            part[g] = (float)(uint32_t)(place % job->up) / (float)job->up;
            x[2 * g] = x[2 * g + 1] = walk.src;
            h[2 * g] = job->coef + (size_t)(place / job->up) * job->taps;
            h[2 * g + 1] = h[2 * g] + job->taps; /* row `rows` exists: it closes the table */
            if (g + 1 < count) walk_on(&walk, job);
        }
        dot_group(sum, x, h, job->taps);
        for (size_t g = 0; g < count; g++) dst[k + g] = sum[2 * g] + part[g] * (sum[2 * g + 1] - sum[2 * g]);
        walk_on(&walk, job);
    }
}

static void poly(float *dst, const float *src, const struct poly_job *job, size_t n) {
    if (job->rows == 0)
        poly_exact(dst, src, job, n);
    else
        poly_between(dst, src, job, n);
}
