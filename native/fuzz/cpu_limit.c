/* Ends a fuzzer, with its final statistics, after FUZZ_SECONDS of processor time: libFuzzer itself counts time on the
 * wall, which on a busy machine says little about the work that was done. */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    const char *const seconds = getenv("FUZZ_SECONDS");
    if (!seconds) return 0;
    struct sigevent ask_to_end = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    const struct itimerspec limit = {.it_value.tv_sec = atol(seconds)};
    timer_t timer;
    if (timer_create(CLOCK_PROCESS_CPUTIME_ID, &ask_to_end, &timer) || timer_settime(timer, 0, &limit, NULL)) abort();
    return 0;
}
