/* Filter plans: what resample.c needs to know about a pair of rates. Internal to native/; the theory is in filter.c. */
#ifndef RELAY_FILTER_H
#define RELAY_FILTER_H

#include "kernels.h"

enum filter_kind {
    FILTER_DECIMATE,    /* 1 : down, whole vectors of outputs at once */
    FILTER_INTERPOLATE, /* up : 1, the same, one pass per phase */
    FILTER_POLYPHASE,   /* up : down, one row of taps for each phase */
    FILTER_BETWEEN,     /* up : down with too many phases: interpolated rows */
};

#define FILTER_MAX_STAGES 2
#define FILTER_MAX_TAPS 144     /* of one stage: 3 : 1 has 3 * 48, and more than that goes in two stages */
#define FILTER_MAX_DECIMATION 8 /* of a first stage: leaves 3 : 1 of 192 -> 8 kHz, the longest way */
#define FILTER_MAX_PHASES 320   /* of FILTER_POLYPHASE: 11.025 -> 24 kHz has as many, the most of any common pair */
#define FILTER_BETWEEN_ROWS 256 /* of FILTER_BETWEEN, and one more that closes the table */

struct filter_stage {
    enum filter_kind kind;
    uint32_t up, down; /* out rate : in rate, reduced */
    uint32_t taps;     /* length of the window in input samples */
    uint32_t primed;   /* zeros before the first sample, such that every whole `down` samples give whole `up` samples */
    uint32_t rows;     /* FILTER_BETWEEN: FILTER_BETWEEN_ROWS */
    float *coef;
};

struct filter_plan {
    struct filter_plan *next; /* the list of live plans */
    int handles;              /* that share it */
    uint32_t in_hz, out_hz;
    int stages; /* 0: equal rates, samples pass through */
    struct filter_stage stage[FILTER_MAX_STAGES];
    size_t bytes;
};

/* The plan for a pair of rates, shared with whoever has it already. NULL when memory is short. */
const struct filter_plan *filter_acquire(uint32_t in_hz, uint32_t out_hz);

/* Gives it back; the last one frees it. */
void filter_release(const struct filter_plan *plan);

#endif
