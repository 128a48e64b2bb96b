/* The smallest useful guest: where am I? */
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct utsname u;
    uname(&u);
    printf("Hello from %s on %s %s, pid %d", u.machine, u.sysname, u.release, (int)getpid());
    for (int i = 1; i < argc; i++) printf("%s%s", i == 1 ? ", arguments: " : " ", argv[i]);
    putchar('\n');
    return 0;
}
