/* Filter design, and the tables that all sessions at one pair of rates share.
 *
 * One recipe covers every pair of rates, a sinc under a Kaiser window.
 *
 * Going down: 48 taps per output sample, cut at 0.929 of the new Nyquist frequency, 84 dB. At 24 kHz out that is flat
 * within 0.02 dB to 10 kHz and 84 dB down from 12.5 kHz on, and the lobes fall off from there, which is what keeps the
 * images of 44.1 -> 24 kHz (80 : 147) out of the PCM16 noise. Delay: 24 output samples less a half, 0.97 ms. An
 * equiripple filter of this length (10 k / 12 k, 83 dB) has a steeper edge, but lobes that do not fall, and 0.024 dB of
 * ripple.
 *
 * Going up: cut at the old Nyquist frequency, where every up-th tap is exactly zero, so that phase 0 is the input
 * itself. Twice the rate: 32 taps, 84 dB, the window's length tried for the best SNR. Else 40 taps and 100 dB, because
 * the more phases there are, the more their small differences count in the SNR.
 *
 * Down by more than three goes in two stages: first a whole number that leaves 1.5 to 2.5 times the output rate (3 at
 * the very most), with a short filter (what it lets alias lies where the second stage removes it), then the rest. That
 * costs a fraction of the work and of the history that one long filter would: 192 -> 24 kHz needs 146 floats instead of
 * 383.
 *
 * Tables are at most 180 KiB for a pair of rates (FILTER_MAX_PHASES rows of FILTER_MAX_TAPS floats), designed in 0.02
 * to 2 ms, and freed with the last handle that uses them.
 */
#include "filter.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define PI 3.14159265358979323846

#define DOWN_TAPS_PER_OUTPUT 48
#define DOWN_CUT 0.929 /* of the output's Nyquist frequency: (10 kHz + 12.5 kHz) / 2 = 11.25 less a margin, over 12 */
#define DOWN_STOP_DB 84.0
#define DOUBLE_TAPS 32
#define DOUBLE_STOP_DB 84.0
#define DOUBLE_INSET 0.25
#define UP_TAPS 40
#define UP_STOP_DB 100.0
#define PRE_STOP_DB 90.0

/* ---- design ---- */

/* Modified Bessel function of the first kind, order 0, by its series; 40 terms reach double precision for x < 15. */
static double bessel_i0(double x) {
    double term = 1.0, sum = 1.0;
    const double quarter = x * x / 4.0;
    for (int k = 1; k < 40 && term > sum * 1e-16; k++) {
        term *= quarter / ((double)k * k);
        sum += term;
    }
    return sum;
}

/* What a stage's filter shall be. */
struct recipe {
    uint32_t taps;
    double cut; /* in cycles per input sample; 0.5 is the input's Nyquist frequency */
    double stop_db;
    double inset; /* the window ends so far inside the outermost taps' far side, in samples */
};

struct prototype {
    double half; /* half the window's length, in input samples */
    double cut;  /* in cycles per input sample */
    double beta, scale;
};

static struct prototype kaiser(struct recipe recipe) {
    const double beta = 0.1102 * (recipe.stop_db - 8.7); /* Kaiser's formula above 50 dB */
    return (struct prototype){recipe.taps / 2.0 - recipe.inset, recipe.cut, beta, 2.0 * recipe.cut / bessel_i0(beta)};
}

/* The prototype at `t` input samples from its centre. */
static double tap_at(const struct prototype *proto, double t) {
    const double edge = t / proto->half, inside = 1.0 - edge * edge;
    if (inside <= 0.0) return 0.0;
    const double angle = 2.0 * PI * proto->cut * t;
    const double sinc = fabs(angle) < 1e-9 ? 1.0 : sin(angle) / angle;
    return proto->scale * sinc * bessel_i0(proto->beta * sqrt(inside));
}

/* Decimation reads its input in `down` planes, plane p holding samples p, p + down, ...; so do its taps. */
static void design_decimator(struct filter_stage *stage, const struct prototype *proto) {
    const uint32_t each = stage->taps / stage->down;
    const double middle = (stage->taps - 1) / 2.0;
    for (uint32_t j = 0; j < stage->taps; j++)
        stage->coef[j % stage->down * each + j / stage->down] = (float)tap_at(proto, middle - j);
}

/* Row r is the filter for an output r / rows of a sample behind the window's middle. */
static void design_rows(struct filter_stage *stage, const struct prototype *proto, uint32_t rows, uint32_t count) {
    float *coef = stage->coef;
    for (uint32_t r = 0; r < count; r++)
        for (uint32_t j = 0; j < stage->taps; j++)
            *coef++ = (float)tap_at(proto, stage->taps / 2.0 - 1.0 + (double)r / rows - j);
}

/* A constant passes with its level unchanged. Rows keep their proportions: scaled one by one they would disagree about
 * every frequency but 0, and that is an image. */
static void normalise(float *coef, size_t taps, size_t count) {
    double sum = 0.0;
    for (size_t i = 0; i < taps * count; i++) sum += (double)coef[i];
    for (size_t i = 0; i < taps * count; i++) coef[i] = (float)((double)coef[i] * (double)count / sum);
}

/* ---- which stages ---- */

static uint32_t common_divisor(uint32_t a, uint32_t b) {
    while (b) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint32_t round_up(double x, uint32_t multiple) { return ((uint32_t)ceil(x / multiple - 1e-9)) * multiple; }

static enum filter_kind kind_of(uint32_t up, uint32_t down) {
    if (up == 1) return FILTER_DECIMATE;
    if (down == 1) return FILTER_INTERPOLATE;
    return up <= FILTER_MAX_PHASES ? FILTER_POLYPHASE : FILTER_BETWEEN;
}

/* Fills one stage; recipe.taps is a whole number of planes, or of vectors. Returns the size of its table in bytes, 0
 * when there was no memory. */
static size_t make_stage(struct filter_stage *stage, uint32_t up, uint32_t down, struct recipe recipe) {
    *stage = (struct filter_stage){.kind = kind_of(up, down), .up = up, .down = down, .taps = recipe.taps};
    stage->primed = recipe.taps - (down + up - 1) / up;
    uint32_t count = up, rows = up;
    if (stage->kind == FILTER_BETWEEN) {
        stage->rows = rows = FILTER_BETWEEN_ROWS;
        count = rows + 1;
    }
    const size_t bytes = (size_t)count * recipe.taps * sizeof *stage->coef;
    stage->coef = malloc(bytes);
    if (!stage->coef) return 0;
    const struct prototype proto = kaiser(recipe);
    if (stage->kind == FILTER_DECIMATE)
        design_decimator(stage, &proto);
    else
        design_rows(stage, &proto, rows, count);
    /* with the cut at 0.5 the row of phase 0 is 1 among zeros already, and stays exactly that */
    if (recipe.cut < 0.5) normalise(stage->coef, recipe.taps, count);
    return bytes;
}

static size_t make_main_stage(struct filter_stage *stage, uint32_t in_hz, uint32_t out_hz) {
    const uint32_t divisor = common_divisor(in_hz, out_hz);
    const uint32_t up = out_hz / divisor, down = in_hz / divisor;
    if (up == 2 && down == 1)
        return make_stage(stage, up, down, (struct recipe){DOUBLE_TAPS, 0.5, DOUBLE_STOP_DB, DOUBLE_INSET});
    if (up > down) return make_stage(stage, up, down, (struct recipe){UP_TAPS, 0.5, UP_STOP_DB, 0.0});
    const double ratio = (double)in_hz / out_hz;
    /* vectors of 8; one tap less than 48 for each output is near enough, and keeps 44.1 -> 24 kHz at 88 */
    const uint32_t taps = up == 1 ? DOWN_TAPS_PER_OUTPUT * down : round_up(DOWN_TAPS_PER_OUTPUT * ratio - 1.0, 8);
    return make_stage(stage, up, down, (struct recipe){taps, DOWN_CUT / 2.0 / ratio, DOWN_STOP_DB, 0.0});
}

/* Down by `factor`, leaving `left` times the output rate. Its stop band starts where an alias would fall below the
 * point from which the main stage stops everything: 12.5 / 12 of the output's Nyquist frequency. */
static size_t make_pre_stage(struct filter_stage *stage, uint32_t factor, double left) {
    const double kept = 12.5 / 12.0 / 2.0;                                 /* in output rates */
    const double in = left * factor;                                       /* the input rate, likewise */
    const double width = left - 2.0 * kept;                                /* from `kept` to its mirror image */
    const double taps = 1.0 + (PRE_STOP_DB - 7.95) / (14.36 * width / in); /* Kaiser's estimate */
    return make_stage(stage, 1, factor, (struct recipe){round_up(taps, factor), left / 2.0 / in, PRE_STOP_DB, 0.0});
}

static int make_plan(struct filter_plan *plan, uint32_t in_hz, uint32_t out_hz) {
    if (in_hz == out_hz) return 1;
    uint32_t factor = 1;
    if (in_hz > 3 * out_hz) {
        factor = (in_hz + out_hz) / (2 * out_hz);
        if (factor > FILTER_MAX_DECIMATION) factor = FILTER_MAX_DECIMATION;
        const size_t bytes = make_pre_stage(&plan->stage[plan->stages], factor, (double)in_hz / factor / out_hz);
        if (!bytes) return 0;
        plan->bytes += bytes;
        plan->stages++;
    }
    /* in_hz / factor may be no whole number, so scale the other side instead; the product stays below 8 * 192,000 */
    const size_t bytes = make_main_stage(&plan->stage[plan->stages], in_hz, out_hz * factor);
    if (!bytes) return 0;
    plan->bytes += bytes;
    plan->stages++;
    return 1;
}

/* ---- sharing ---- */

static pthread_mutex_t plans_lock = PTHREAD_MUTEX_INITIALIZER;
static struct filter_plan *plans;
static size_t plans_bytes;

static void destroy(struct filter_plan *plan) {
    for (int i = 0; i < FILTER_MAX_STAGES; i++) free(plan->stage[i].coef);
    free(plan);
}

static struct filter_plan *find_or_make(uint32_t in_hz, uint32_t out_hz) {
    for (struct filter_plan *plan = plans; plan; plan = plan->next)
        if (plan->in_hz == in_hz && plan->out_hz == out_hz) return plan;
    struct filter_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return NULL;
    plan->in_hz = in_hz;
    plan->out_hz = out_hz;
    if (!make_plan(plan, in_hz, out_hz)) {
        destroy(plan);
        return NULL;
    }
    plan->next = plans;
    plans = plan;
    plans_bytes += plan->bytes;
    return plan;
}

const struct filter_plan *filter_acquire(uint32_t in_hz, uint32_t out_hz) {
    pthread_mutex_lock(&plans_lock);
    struct filter_plan *plan = find_or_make(in_hz, out_hz);
    if (plan) plan->handles++;
    pthread_mutex_unlock(&plans_lock);
    return plan;
}

void filter_release(const struct filter_plan *plan) {
    pthread_mutex_lock(&plans_lock);
    struct filter_plan **link = &plans;
    while (*link != plan) link = &(*link)->next; /* it is there: the caller holds it */
    struct filter_plan *found = *link;
    if (--found->handles == 0) {
        *link = found->next;
        plans_bytes -= found->bytes;
        destroy(found);
    }
    pthread_mutex_unlock(&plans_lock);
}

size_t relay_table_bytes(void) {
    pthread_mutex_lock(&plans_lock);
    const size_t bytes = plans_bytes;
    pthread_mutex_unlock(&plans_lock);
    return bytes;
}
