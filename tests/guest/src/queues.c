// POSIX message queues.
#include "guest.h"
#include <mqueue.h>
#include <poll.h>
#include <sys/wait.h>

static char queue_name[64];
static mqd_t open_queue(long messages, long size)
{
    struct mq_attr a = { .mq_maxmsg = messages, .mq_msgsize = size };
    snprintf(queue_name, sizeof queue_name, "/guest-%d-%lld", getpid(), (long long)now());
    mqd_t q = mq_open(queue_name, O_CREAT | O_EXCL | O_RDWR, 0600, &a);
    if (q == -1 && (errno == ENOSYS || errno == EMFILE)) skip("no message queues here");
    CHECK(q != -1);
    return q;
}

CASE(mq_priorities)
{
    mqd_t q = open_queue(4, 16);
    FAILS(mq_open(queue_name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL), EEXIST);
    FAILS(mq_open("/there-is-no-such-queue", O_RDWR), ENOENT);
    ZERO(mq_send(q, "low", 4, 1));
    ZERO(mq_send(q, "high", 5, 9));
    ZERO(mq_send(q, "low2", 5, 1));
    FAILS(mq_send(q, "a message that is too long", 27, 0), EMSGSIZE);
    struct mq_attr a;
    ZERO(mq_getattr(q, &a));
    EQUAL(a.mq_curmsgs, 3);
    EQUAL(a.mq_maxmsg, 4);
    EQUAL(a.mq_msgsize, 16);
    char text[16];
    unsigned priority;
    FAILS(mq_receive(q, text, 4, &priority), EMSGSIZE);
    EQUAL(mq_receive(q, text, 16, &priority), 5);
    EQUAL(priority, 9);
    EQUAL(strcmp(text, "high"), 0);
    EQUAL(mq_receive(q, text, 16, &priority), 4);
    EQUAL(strcmp(text, "low"), 0);
    EQUAL(mq_receive(q, text, 16, NULL), 5);
    struct timespec past = { 1, 0 };
    FAILS(mq_timedreceive(q, text, 16, NULL, &past), ETIMEDOUT);
    a.mq_flags = O_NONBLOCK;
    ZERO(mq_setattr(q, &a, NULL));
    FAILS(mq_receive(q, text, 16, NULL), EAGAIN);
    struct pollfd p = { .fd = q, .events = POLLIN | POLLOUT };
    EQUAL(poll(&p, 1, 0), 1);
    EQUAL(p.revents, POLLOUT);
    EQUAL(fcntl(q, F_GETFD), FD_CLOEXEC);
    ZERO(mq_unlink(queue_name));
    FAILS(mq_unlink(queue_name), ENOENT);
    ZERO(mq_close(q));
    FAILS(mq_close(q), EBADF);
}

CASE(mq_between_processes, "fork")
{
    mqd_t q = open_queue(2, 64);
    pid_t child = fork();
    if (!child)
    {
        mqd_t mine = mq_open(queue_name, O_WRONLY);
        CHECK(mine != -1);
        for (int i = 0; i < 50; i++) ZERO(mq_send(mine, (char *)&i, sizeof i, 3));
        _exit(0);
    }
    for (int i = 0; i < 50; i++)
    {
        int got = -1;
        char text[64];
        EQUAL(mq_receive(q, text, sizeof text, NULL), (long)sizeof got);
        memcpy(&got, text, sizeof got);
        EQUAL(got, i);
    }
    int status;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    ZERO(mq_unlink(queue_name));
}

static volatile int told, told_value, told_code;
static void on_message(int s, siginfo_t *i, void *u)
{
    (void)s, (void)u;
    told++;
    told_value = i->si_value.sival_int;
    told_code = i->si_code;
}
CASE(mq_notification)
{
    mqd_t q = open_queue(4, 16);
    handle(SIGUSR1, on_message, SA_RESTART);
    struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42 };
    ZERO(mq_notify(q, &e));
    FAILS(mq_notify(q, &e), EBUSY);
    ZERO(mq_send(q, "x", 1, 0));
    int64_t end = now() + 10000000000ll;
    while (!told) { sched_yield(); CHECK(now() < end); }
    EQUAL(told_value, 42);
    EQUAL(told_code, SI_MESGQ);
    // Once, and only from empty to not empty.
    ZERO(mq_send(q, "x", 1, 0));
    ZERO(mq_notify(q, &e));
    ZERO(mq_send(q, "x", 1, 0));
    sleep_ms(20);
    EQUAL(told, 1);
    ZERO(mq_notify(q, NULL));
    ZERO(mq_notify(q, &e));
    ZERO(mq_unlink(queue_name));
}

// The C library's thread runs a function for the message, once per registration.
static _Atomic int threads_told;
static mqd_t thread_queue;
static void on_message_thread(union sigval v)
{
    char text[16];
    unsigned priority;
    EQUAL(v.sival_int, 43);
    EQUAL(mq_receive(thread_queue, text, sizeof text, &priority), 1);
    threads_told++;
}
CASE(mq_notification_by_thread)
{
    mqd_t q = thread_queue = open_queue(4, 16);
    struct sigevent e = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_message_thread, .sigev_value.sival_int = 43 };
    for (int i = 1; i <= 5; i++)
    {
        ZERO(mq_notify(q, &e));
        FAILS(mq_notify(q, &e), EBUSY);
        ZERO(mq_send(q, "x", 1, 0));
        int64_t end = now() + 10000000000ll;
        while (threads_told < i) { sleep_ms(1); CHECK(now() < end); }
    }
    ZERO(mq_notify(q, &e));
    ZERO(mq_notify(q, NULL));
    ZERO(mq_notify(q, &e));
    ZERO(mq_send(q, "x", 1, 0));
    int64_t end = now() + 10000000000ll;
    while (threads_told < 6) { sleep_ms(1); CHECK(now() < end); }
    e.sigev_notify = 77;
    FAILS(mq_notify(q, &e), EINVAL);
    ZERO(mq_unlink(queue_name));
}

// A signal without SA_RESTART ends a receive.
static void nothing(int s, siginfo_t *i, void *u) { (void)s, (void)i, (void)u; }
CASE(mq_interrupted)
{
    mqd_t q = open_queue(4, 16);
    handle(SIGALRM, nothing, 0);
    struct itimerspec once = { .it_value = { 0, 50000000 } };
    timer_t t;
    ZERO(timer_create(CLOCK_MONOTONIC, NULL, &t));
    ZERO(timer_settime(t, 0, &once, NULL));
    char text[16];
    FAILS(mq_receive(q, text, 16, NULL), EINTR);
    ZERO(mq_unlink(queue_name));
}
