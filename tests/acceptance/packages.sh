# Packages that distributions keep away from builds under QEMU's user mode: built from Debian's source and tested by their own test suites.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "gcc make perl diffutils gawk m4 tar gzip xz-utils file binutils libc6-dev bc locales-all gettext procps"
# Names on the command line of the script's environment choose: VIV_PACKAGES="grep m4".
for name in ${VIV_PACKAGES:-m4 diffutils grep gawk findutils ninja-build}; do
    if ! scripts/debian-source "$name" "$root/tmp/$name" >"$SCRATCH/$name.log" 2>&1; then
        echo "skip $name: $(tail -n 1 "$SCRATCH/$name.log")"
        continue
    fi
    # What the archive ships is newer than what it was made from, so that nobody wants autoconf or makeinfo.
    find "$root/tmp/$name" -name '*.m4' -o -name configure.ac -o -name Makefile.am | xargs touch -d 2020-01-01
    tools='ACLOCAL=: AUTOCONF=: AUTOMAKE=: AUTOHEADER=: MAKEINFO=: HELP2MAN=:'
    case $name in
        gawk) build="./configure --disable-nls -q && make -j4 $tools" test="make check" ;;
        *) build="FORCE_UNSAFE_CONFIGURE=1 ./configure --disable-nls --disable-dependency-tracking -q && make -j4 $tools" test="make -j4 $tools check" ;;
    esac
    start=$SECONDS
    check "$name: configure and make -j4" guest 2400 "$root" /bin/sh -c "cd $name && $build"
    guest 2400 "$root" /bin/sh -c "cd $name && $test" >"$SCRATCH/$name.check" 2>&1
    status=$?
    # Automake's totals where there are some.
    totals=$(grep -aE '^# (TOTAL|PASS|SKIP|XFAIL|FAIL|XPASS|ERROR):' "$SCRATCH/$name.check" | awk '{t[$2]+=$3} END {for (k in t) printf "%s%s ", tolower(k), t[k]}')
    if [ $status = 0 ]; then echo "ok $name: its own tests: ${totals:-all passed} ($((SECONDS - start)) s with the build)"
    else echo "FAIL $name: its own tests: ${totals:-status $status}"; grep -aE '^(FAIL|ERROR)' "$SCRATCH/$name.check" | sort -u | head -20 >&2; fi
done
