# Python's own tests of processes, signals, sockets, threads and files, less the cases in python-tests.exclude (each with its reason).
. tests/acceptance/lib.sh
fresh_tree "$SCRATCH/root" "python3-minimal python3 libpython3.13-testsuite netbase tzdata"
exclude=()
while read -r test _; do
    case $test in ''|'#'*) ;; *) exclude+=(-i "$test") ;; esac
done <tests/acceptance/python-tests.exclude
for module in test_subprocess test_signal test_socket test_threading test_asyncio test_multiprocessing_fork test_os test_mmap test_select \
    test_epoll test_fcntl test_pty test_float test_math test_json test_struct; do
    check "python $module" guest 1500 "$SCRATCH/root" /usr/bin/python3 -m test -q "${exclude[@]}" "$module"
done
