# Families of stress-ng with their own verification.
. tests/acceptance/lib.sh
fresh_tree "$SCRATCH/root" "stress-ng"
for s in cpu vm matrix memcpy qsort stream mmap mremap brk stack fork vfork clone exec pthread wait futex mutex sem sem-sysv msg shm shm-sysv mq pipe fifo \
    sock udp poll epoll eventfd signal sigq sigsegv sigsuspend sigpending timer timerfd itimer switch yield kill \
    dir dentry flock fcntl fstat getdent hdd iomix link rename symlink seek sendfile splice tee utime xattr inotify open close dup \
    atomic membarrier prctl rlimit get set sysinfo procfs aio; do
    check "stress-ng $s" guest 90 "$SCRATCH/root" /usr/bin/stress-ng --verify --$s 2 --$s-ops 50 --timeout 20s --temp-path /tmp -q
done
