# Packages that distributions keep away from builds under QEMU's user mode: built from Debian's source and tested by their own test suites.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "gcc g++ cmake make perl python3-minimal python3 diffutils gawk m4 tar gzip xz-utils file binutils libc6-dev bc locales-all mawk gettext procps util-linux
    expect libgtest-dev libncurses-dev re2c netbase bsdextrautils man-db autoconf"
jobs=${VIV_JOBS:-4}
# The names of the tests that a suite says have failed: automake's, those of TAP, and m4's own.
failed_tests() { { grep -aE '^(FAIL|ERROR):? ' "$1" | sed -E 's/^[A-Z]+:? +//'; sed -nE 's/^not ok [0-9]+ - ([a-zA-Z0-9_]+).*/\1/p' "$1"; sed -n '/^Failed checks were:/,/^make/p' "$1" | grep -ao '[0-9]*\.[a-z0-9]*:[a-z]*'; } | sort -u; }
# Some have failed, and each is in packages.known: it fails natively too.
all_known() {
    local failure
    [ -s "$2" ] || return 1
    while read -r failure; do awk -v p="$1" -v f="$failure" '$1 == p && $2 == f { known = 1 } END { exit !known }' tests/acceptance/packages.known || return 1; done <"$2"
}
# Names on the command line of the script's environment choose: VIV_PACKAGES="grep m4".
for name in ${VIV_PACKAGES:-m4 diffutils grep gawk findutils lmdb ninja-build libuv1 zsh coreutils}; do
    if ! scripts/debian-source "$name" "$root/tmp/$name" >"$SCRATCH/$name.log" 2>&1; then
        echo "skip $name: $(tail -n 1 "$SCRATCH/$name.log")"
        continue
    fi
    # What the archive ships is newer than what it was made from, so that nobody wants autoconf or makeinfo.
    find "$root/tmp/$name" -name '*.m4' -o -name configure.ac -o -name Makefile.am | xargs -r touch -d 2020-01-01
    tools='ACLOCAL=: AUTOCONF=: AUTOMAKE=: AUTOHEADER=: MAKEINFO=: HELP2MAN=:'
    case $name in
        lmdb) build="cd libraries/liblmdb && make -j$jobs" test="cd libraries/liblmdb && make test" ;;
        gawk) # the archive lacks the manual's source, at which make ends when all programs are there
            build="./configure --disable-nls -q && { make -j$jobs $tools; test -x gawk; }" test="make -C test check" ;;
        ninja-build) # only the tests' program: what python builds first needs nothing else
            build="./configure.py --bootstrap && cmake -B build -DBUILD_TESTING=ON -DCMAKE_BUILD_TYPE=Release -DFETCHCONTENT_FULLY_DISCONNECTED=ON && make -C build -j$jobs ninja_test"
            test="./build/ninja_test" ;;
        libuv1) build="cmake -B build -DCMAKE_BUILD_TYPE=Release && make -C build -j$jobs" test="chown -R nobody:nogroup . && setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp ./build/uv_run_tests" ;; # not as root
        zsh) build="./configure -q && make -j$jobs -C Src" test="make -C Test check" ;;
        coreutils|findutils) # gnulib's own tests are of functions, not of programs
            build="FORCE_UNSAFE_CONFIGURE=1 ./configure --disable-nls --disable-dependency-tracking -q && make -j$jobs $tools"
            test="make -j$jobs $tools check SUBDIRS=."
            [ $name = coreutils ] || test="s=0; for d in find xargs locate tests; do make -j$jobs $tools -C \$d check || s=1; done; exit \$s" ;;
        *) build="FORCE_UNSAFE_CONFIGURE=1 ./configure --disable-nls --disable-dependency-tracking -q && make -j$jobs $tools" test="make -j$jobs $tools check" ;;
    esac
    start=$SECONDS
    check "$name: configure and make -j$jobs" guest 2400 "$root" /bin/sh -c "cd $name && $build"
    guest 2400 "$root" /bin/sh -c "cd $name && $test" >"$SCRATCH/$name.check" 2>&1
    status=$?
    # Automake's totals where there are some.
    totals=$(grep -aE '^# (TOTAL|PASS|SKIP|XFAIL|FAIL|XPASS|ERROR):' "$SCRATCH/$name.check" | awk '{t[$2]+=$3} END {for (k in t) printf "%s%s ", tolower(k), t[k]}')
    failed_tests "$SCRATCH/$name.check" >"$SCRATCH/$name.failed"
    if [ $status = 0 ]; then echo "ok $name: its own tests: ${totals:-all passed} ($((SECONDS - start)) s with the build)"
    elif all_known "$name" "$SCRATCH/$name.failed"; then
        echo "ok $name: its own tests: ${totals}$(wc -l <"$SCRATCH/$name.failed") failed as they do natively ($((SECONDS - start)) s with the build)"
    else echo "FAIL $name: its own tests: ${totals:-status $status}"; grep -aE '^(FAIL|ERROR)' "$SCRATCH/$name.check" | sort -u | head -20 >&2; fi
done
