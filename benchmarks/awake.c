/* Keeps one core from halting, so that a process that waits there is woken at once: `awake CORE`.
 *
 * It runs only while nobody else wants the core (SCHED_IDLE), touches no memory, and ends with the process that started
 * it. What it is for: benchmarks/awake.py. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

int main(int count, char **values) {
    cpu_set_t cores;
    const struct sched_param none = {0};
    if (count != 2 || prctl(PR_SET_PDEATHSIG, SIGKILL)) return 2;
    CPU_ZERO(&cores);
    CPU_SET((size_t)atoi(values[1]), &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) || sched_setscheduler(0, SCHED_IDLE, &none)) return 1;
    for (;;) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#else
        __asm__ volatile("");
#endif
    }
}
