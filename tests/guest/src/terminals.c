// Pseudo-terminals: controlling terminals, foreground groups, keys that are signals.
#include "guest.h"
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

static volatile sig_atomic_t last;
static void note(int s, siginfo_t *i, void *c) { (void)i; (void)c; last = s; }

// Waits up to 20 s for a byte from the child.
static char hear(int fd) { char b = 0; EQUAL(read(fd, &b, 1), 1); return b; }
static void tell(int fd, char b) { EQUAL(write(fd, &b, 1), 1); }

CASE(terminal_keys_are_signals, "fork")
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), up[2], down[2], status;
    if (master < 0) skip("no /dev/ptmx");
    ZERO(grantpt(master));
    ZERO(unlockpt(master));
    char name[64];
    ZERO(ptsname_r(master, name, sizeof name));
    ZERO(pipe(up));
    ZERO(pipe(down));
    pid_t c = fork();
    CHECK(c >= 0);
    if (c == 0)
    {
        EQUAL(setsid(), getpid());
        int slave = open(name, O_RDWR);                   // the leader's first terminal controls its session
        CHECK(slave >= 0);
        EQUAL(tcgetsid(slave), getpid());
        EQUAL(tcgetpgrp(slave), getpgrp());
        handle(SIGINT, note, 0); handle(SIGQUIT, note, 0); handle(SIGWINCH, note, 0);
        sigset_t all, none;
        sigfillset(&all); sigemptyset(&none);
        sigprocmask(SIG_BLOCK, &all, 0);
        tell(up[1], 'r');
        static const int expected[] = { SIGINT, SIGQUIT, SIGWINCH };
        for (int i = 0; i < 3; i++) { last = 0; while (last == 0) sigsuspend(&none); EQUAL(last, expected[i]); tell(up[1], 's'); }
        // Without ISIG the key is a character.
        struct termios t;
        ZERO(tcgetattr(slave, &t));
        t.c_lflag &= ~(ISIG | ICANON | ECHO);
        ZERO(tcsetattr(slave, TCSANOW, &t));
        tell(up[1], 'k');
        char key = 0;
        EQUAL(read(slave, &key, 1), 1);
        EQUAL(key, 3);
        // A background group: reading stops it, and the foreground gets the keys.
        t.c_lflag |= ISIG;
        ZERO(tcsetattr(slave, TCSANOW, &t));
        sigprocmask(SIG_UNBLOCK, &all, 0);
        pid_t g = fork();
        if (g == 0) { setpgid(0, 0); for (;;) { char b; if (read(slave, &b, 1) < 0) _exit(9); } }
        setpgid(g, g);
        EQUAL(waitpid(g, &status, WUNTRACED), g);
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
        ZERO(tcsetpgrp(slave, g));
        EQUAL(tcgetpgrp(slave), g);
        ZERO(kill(g, SIGCONT));
        tell(up[1], 'z');
        EQUAL(waitpid(g, &status, WUNTRACED), g);
        CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
        signal(SIGTTOU, SIG_IGN);
        ZERO(tcsetpgrp(slave, getpgrp()));
        kill(g, SIGKILL);
        EQUAL(waitpid(g, &status, 0), g);
        // The line goes down.
        handle(SIGHUP, note, 0);
        sigprocmask(SIG_BLOCK, &all, 0);
        last = 0;
        close(master);
        tell(up[1], 'h');
        while (last == 0) sigsuspend(&none);
        EQUAL(last, SIGHUP);
        _exit(0);
    }
    EQUAL(hear(up[0]), 'r');
    EQUAL(write(master, "\003", 1), 1);
    EQUAL(hear(up[0]), 's');
    EQUAL(write(master, "ab\034", 3), 3);
    EQUAL(hear(up[0]), 's');
    struct winsize size = { 50, 132, 0, 0 };
    ZERO(ioctl(master, TIOCSWINSZ, &size));
    EQUAL(hear(up[0]), 's');
    EQUAL(hear(up[0]), 'k');
    EQUAL(write(master, "\003", 1), 1);
    EQUAL(hear(up[0]), 'z');
    sleep_ms(50);
    EQUAL(write(master, "\032", 1), 1);
    EQUAL(hear(up[0]), 'h');
    close(master);
    EQUAL(waitpid(c, &status, 0), c);
    EQUAL(status, 0);
    (void)down;
}
