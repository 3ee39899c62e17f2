/* The walk over phases, shared by every level. Before including it a level defines
 *   GROUP, dot_group(sum, x, h, taps)       sum[g] = x[g][0..taps) . h[g][0..taps) for g < GROUP
 *   ROW_GROUP, dot_row(sum, x, step, h, taps, count)   sum[g] = x[g * step ..] . h for g < count <= ROW_GROUP
 * each sum always in the same order, in both, so that it does not matter which outputs are computed together.
 */

/* Where the next output's window starts, and its phase. */
struct poly_walk {
    const float *src;
    uint32_t phase;
};

static inline void walk_on(struct poly_walk *walk, const struct poly_job *job) {
    uint64_t next = (uint64_t)walk->phase + job->down;
    walk->src += next / job->up;
    walk->phase = (uint32_t)(next % job->up);
}

/* Outputs k, k + up, k + 2 up ... read the same row of taps, `down` samples further on each time. Taken together they
 * load the row once, and the table passes through the cache once a block instead of once for every `up` outputs. */
static void poly_rows(float *dst, const float *src, const struct poly_job *job, size_t n) {
    struct poly_walk walk = {src, job->phase};
    for (size_t k = 0; k < job->up && k < n; k++) {
        const float *const row = job->coef + (size_t)walk.phase * job->taps, *x = walk.src;
        float sum[ROW_GROUP];
        for (size_t at = k; at < n; at += (size_t)ROW_GROUP * job->up) {
            const size_t left = (n - at + job->up - 1) / job->up, count = left < ROW_GROUP ? left : ROW_GROUP;
            dot_row(sum, x, job->down, row, job->taps, count);
            for (size_t g = 0; g < count; g++) dst[at + g * job->up] = sum[g];
            x += (size_t)count * job->down;
        }
        walk_on(&walk, job);
    }
}

/* Fewer outputs than phases: in order. */
static void poly_exact(float *dst, const float *src, const struct poly_job *job, size_t n) {
    struct poly_walk walk = {src, job->phase};
    for (size_t k = 0; k < n; k += GROUP) {
        const float *x[GROUP], *h[GROUP];
        float sum[GROUP];
        const size_t count = n - k < GROUP ? n - k : GROUP;
        for (size_t g = 0; g < GROUP; g++) {
            x[g] = walk.src; /* past the end of the job, the last output again: nothing outside is read */
            h[g] = job->coef + (size_t)walk.phase * job->taps;
            if (g + 1 < count) walk_on(&walk, job);
        }
        dot_group(sum, x, h, job->taps);
        memcpy(dst + k, sum, count * sizeof *sum);
        walk_on(&walk, job);
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
    if (job->rows)
        poly_between(dst, src, job, n);
    else if (n >= 2 * (size_t)job->up)
        poly_rows(dst, src, job, n);
    else
        poly_exact(dst, src, job, n);
}
