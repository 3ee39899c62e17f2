/* Counts a program's system calls, and the processor time in each, while it runs: loaded before libc (calls.py).
 *
 * Only the calls that a relay makes for a frame. Time is that of the calling thread on its processor, so that a wait
 * costs what going to sleep and waking up cost, and not what it lasts. Reading that clock is a system call as well: its
 * own cost is measured at the start, for the reader to subtract. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* In the order of calls.KINDS. */
enum { RECEIVE, SEND, WAIT_LOOP, WAIT_OTHER, CONTROL, ANY, KINDS };

typedef struct {
    uint64_t clock_ns;
    struct {
        uint64_t count, ns;
    } kinds[KINDS];
} shared;

static shared nowhere, *counts = &nowhere;
static int loop_epoll = -1; /* the first one of the process: its event loop's */

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void note(int kind, uint64_t since_ns) {
    __atomic_fetch_add(&counts->kinds[kind].count, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&counts->kinds[kind].ns, cpu_ns() - since_ns, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void begin(void) {
    enum { TIMES = 2000 };
    const char *path = getenv("BENCHMARK_CALLS");
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *place = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (place != MAP_FAILED) counts = place;
    const uint64_t from = cpu_ns();
    for (int i = 0; i < TIMES; i++) cpu_ns();
    counts->clock_ns = (cpu_ns() - from) / TIMES;
}

#define WRAP(kind, type, name, arguments, values)                   \
    type name arguments {                                           \
        static type(*real) arguments;                               \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);       \
        const uint64_t since_ns = cpu_ns();                         \
        const type result = real values;                            \
        note(kind, since_ns);                                       \
        return result;                                              \
    }
#define WAIT(epoll) (epoll == loop_epoll ? WAIT_LOOP : WAIT_OTHER)

WRAP(RECEIVE, ssize_t, recv, (int fd, void *to, size_t room, int flags), (fd, to, room, flags))
WRAP(RECEIVE, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(RECEIVE, ssize_t, readv, (int fd, const struct iovec *to, int count), (fd, to, count))
WRAP(ANY, ssize_t, read, (int fd, void *to, size_t room), (fd, to, room))
WRAP(SEND, ssize_t, send, (int fd, const void *from, size_t bytes, int flags), (fd, from, bytes, flags))
WRAP(SEND, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(SEND, ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
WRAP(ANY, ssize_t, write, (int fd, const void *from, size_t bytes), (fd, from, bytes))
WRAP(ANY, ssize_t, getrandom, (void *to, size_t bytes, unsigned flags), (to, bytes, flags))
WRAP(CONTROL, int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event))
WRAP(WAIT(epoll), int, epoll_wait, (int epoll, struct epoll_event *events, int room, int timeout_ms),
     (epoll, events, room, timeout_ms))
WRAP(WAIT(epoll), int, epoll_pwait, (int epoll, struct epoll_event *events, int room, int timeout_ms, const sigset_t *mask),
     (epoll, events, room, timeout_ms, mask))
WRAP(WAIT(epoll), int, epoll_pwait2,
     (int epoll, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask),
     (epoll, events, room, timeout, mask))

int epoll_create1(int flags) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "epoll_create1");
    const int epoll = real(flags);
    if (loop_epoll < 0) loop_epoll = epoll;
    return epoll;
}

int epoll_create(int size) {
    (void)size;
    return epoll_create1(0);
}
