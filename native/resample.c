/* Streaming resampling: any split of the input gives the same output, bit for bit.
 *
 * A stage holds the samples that a later output still needs, at most taps - 1 of them. A block is laid behind them in
 * one window; output k, whose window starts phase / up further on, is computed as soon as its whole window is there. So
 * what an output is made of depends on its position in the stream only, and its order of additions on nothing
 * (kernels.h).
 *
 * At the start `primed` zeros are held, enough for the first output to come with the first `down` / `up` samples:
 * nothing is ever held back for want of company, and 20 ms in always give exactly 20 ms out.
 *
 * State of one direction: a handle (at most 128 bytes) and its history. With 24 kHz upstream the longest history is 143
 * floats (from 72 kHz, or to 8 kHz), and the other direction of that session has 39: together at most 984 bytes. Other
 * upstream rates reach 214 floats (192 -> 8 kHz), still below 1 KiB for that direction alone.
 */
#include "resample.h"

#define WINDOW (FILTER_MAX_TAPS + BLOCK_IN + KERNEL_PAD)
/* Planes of a split window: all of it once, and a pad behind each plane. */
#define PLANES (FILTER_MAX_TAPS + BLOCK_IN + FILTER_MAX_DECIMATION * KERNEL_PAD)

/* What lies on the stack at once: a caller's block of output, both windows, and decimate()'s planes or interpolate()'s
 * rows; 1 KiB for everything else. */
#define ROWS (BLOCK_OUT + KERNEL_PAD)
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
_Static_assert(sizeof(float) * (ROWS + 2 * WINDOW + LARGER(PLANES, ROWS)) + 1024 <= RELAY_STACK_BYTES, "as promised");

size_t resample_history(const struct filter_plan *plan) {
    size_t floats = 0;
    for (int i = 0; i < plan->stages; i++) floats += plan->stage[i].taps - 1;
    return floats;
}

void resample_reset(struct resampler *resampler) {
    const struct filter_plan *plan = resampler->plan;
    for (int i = 0; i < plan->stages; i++) resampler->state[i] = (struct stage_state){plan->stage[i].primed, 0};
    memset(resampler->history, 0, resample_history(plan) * sizeof *resampler->history);
}

/* Outputs whose window is complete once `total` samples are there: (phase + k down) / up rounded down + taps <= total.
 */
static size_t stage_count(const struct filter_stage *stage, const struct stage_state *state, size_t total) {
    if (total < stage->taps) return 0;
    const uint64_t end = (uint64_t)(total - stage->taps + 1) * stage->up;
    return state->phase >= end ? 0 : (size_t)((end - state->phase + stage->down - 1) / stage->down);
}

size_t resample_count(const struct resampler *resampler, size_t n) {
    for (int i = 0; i < resampler->plan->stages; i++)
        n = stage_count(&resampler->plan->stage[i], &resampler->state[i], resampler->state[i].held + n);
    return n;
}

size_t resample_block_size(const struct resampler *resampler) {
    const struct filter_plan *plan = resampler->plan;
    if (plan->out_hz <= plan->in_hz) return BLOCK_IN;
    /* n samples give at most n out/in, rounded up */
    const size_t fits = (size_t)((uint64_t)(BLOCK_OUT - 1) * plan->in_hz / plan->out_hz);
    return fits < BLOCK_IN ? fits : BLOCK_IN;
}

size_t resample_tail(const struct resampler *resampler) {
    size_t samples = 0, scale = 1;
    for (int i = 0; i < resampler->plan->stages; i++) {
        samples += (resampler->plan->stage[i].taps - 1) * scale;
        scale *= resampler->plan->stage[i].down; /* only the first of two stages counts here, and it has up = 1 */
    }
    return samples;
}

/* ---- one stage ---- */

/* Each plane is followed by KERNEL_PAD zeros, which fir() may read for the outputs that it computes too many. */
static void decimate(const struct kernels *kernels, const struct filter_stage *stage, const float *window, size_t total,
                     float *out, size_t count) {
    float planes[PLANES];
    const size_t each = total / stage->down, stride = each + KERNEL_PAD;
    kernels->split(planes, stride, window, each, stage->down);
    for (size_t p = 0; p < stage->down; p++) memset(planes + p * stride + each, 0, KERNEL_PAD * sizeof *planes);
    kernels->fir(out, planes, stride, stage->coef, stage->down, stage->taps / stage->down, count);
}

/* For each input sample: the phases between the window's two middle samples, then the later of the two as it is, which
 * is what phase 0 of the next window would give (filter.c). fir() writes up to KERNEL_PAD floats past a row, into the
 * next one, which is written afterwards. */
static void interpolate(const struct kernels *kernels, const struct filter_stage *stage, const float *window,
                        float *out, size_t count) {
    float rows[ROWS];
    const size_t each = count / stage->up, last = stage->up - 1;
    for (size_t p = 0; p < last; p++)
        kernels->fir(rows + p * each, window, 0, stage->coef + (p + 1) * stage->taps, 1, stage->taps, each);
    memcpy(rows + last * each, window + stage->taps / 2, each * sizeof *rows);
    kernels->join(out, rows, each, each, stage->up);
}

static void polyphase(const struct kernels *kernels, const struct filter_stage *stage, const struct stage_state *state,
                      const float *window, float *out, size_t count) {
    const struct poly_job job = {
        .coef = stage->coef,
        .taps = stage->taps,
        .up = stage->up,
        .down = stage->down,
        .phase = state->phase,
        .rows = stage->rows,
    };
    kernels->poly(out, window, &job, count);
}

/* window[0..total) holds the history and the new samples, and is followed by KERNEL_PAD floats of room. */
static size_t run_stage(const struct kernels *kernels, const struct filter_stage *stage, struct stage_state *state,
                        float *history, float *window, size_t total, float *out) {
    const size_t count = stage_count(stage, state, total);
    memset(window + total, 0, KERNEL_PAD * sizeof *window);
    if (count == 0)
        ;
    else if (stage->kind == FILTER_DECIMATE)
        decimate(kernels, stage, window, total, out, count);
    else if (stage->kind == FILTER_INTERPOLATE)
        interpolate(kernels, stage, window, out, count);
    else
        polyphase(kernels, stage, state, window, out, count);
    /* The next output's window starts here. It is not complete, so what remains is shorter than taps; and it starts
     * inside, because one step (down / up <= taps) from a complete window does not leave it. */
    const uint64_t next = state->phase + (uint64_t)count * stage->down;
    const size_t used = (size_t)(next / stage->up);
    state->phase = (uint32_t)(next % stage->up);
    state->held = (uint32_t)(total - used);
    memcpy(history, window + used, state->held * sizeof *history);
    return count;
}

static void load(const struct kernels *kernels, float *dst, int encoding, const char *samples, size_t n) {
    if (!samples)
        memset(dst, 0, n * sizeof *dst);
    else if (encoding == RELAY_F32LE)
        kernels->load_f32(dst, samples, n);
    else
        kernels->load_s16(dst, samples, n);
}

size_t resample_block(struct resampler *resampler, int encoding, const char *samples, size_t n, float *out) {
    const struct filter_plan *const plan = resampler->plan;
    const struct kernels *const kernels = resampler->kernels;
    if (plan->stages == 0) {
        load(kernels, out, encoding, samples, n);
        return n;
    }
    float windows[FILTER_MAX_STAGES][WINDOW];
    float *history = resampler->history;
    for (int i = 0; i < plan->stages; i++) {
        struct stage_state *const state = &resampler->state[i];
        memcpy(windows[i], history, state->held * sizeof *history);
        if (i == 0) load(kernels, windows[0] + state->held, encoding, samples, n);
        float *const to = i + 1 < plan->stages ? windows[i + 1] + resampler->state[i + 1].held : out;
        n = run_stage(kernels, &plan->stage[i], state, history, windows[i], state->held + n, to);
        history += plan->stage[i].taps - 1;
    }
    return n;
}
