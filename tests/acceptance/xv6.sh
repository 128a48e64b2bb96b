#!/usr/bin/env bash
# usage: tests/acceptance/xv6.sh [DIRECTORY]
# A second operating system: builds xv6 for RISC-V, from its sources in DIRECTORY or a fresh clone, starts it in M-mode in viv (1, 2 and 3 harts), and runs its own
# tests in it. Needs git, make and gcc-riscv64-linux-gnu; takes minutes. Nothing of xv6 is kept.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
viv=${VIV:-$here/viv}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/scripts/need" git make riscv64-linux-gnu-gcc </dev/null || exit 125
git clone -q "${1:-https://github.com/mit-pdos/xv6-riscv}" "$work/xv6" || { echo "xv6.sh: no sources of xv6"; exit 125; }
make -s -C "$work/xv6" kernel/kernel fs.img TOOLPREFIX=riscv64-linux-gnu- >"$work/make.log" 2>&1 || { tail -n 20 "$work/make.log"; exit 125; }
VIV_NO_BUILD=0 "$viv" --version >/dev/null
failures=0

# run HARTS COMMAND PATTERN: types a command at the shell's prompt, and ends the machine when the pattern shows.
run() {
    local log=$work/log start=$SECONDS pid
    rm -f "$work/typed"; : >"$log"
    mkfifo "$work/typed"
    exec 7<>"$work/typed"
    VIV_NO_BUILD=1 timeout "${VIV_BOOT_TIMEOUT:-900}" "$viv" boot --firmware "$work/xv6/kernel/kernel" --memory 128M --cpus "$1" \
        --disk "$work/xv6/fs.img,temporary" <"$work/typed" >"$log" 2>&1 &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! grep -aq 'init: starting sh' "$log"; do sleep 0.2; done
    echo "$2" >&7
    while kill -0 $pid 2>/dev/null && ! grep -aqE "$3|FAILED|panic" "$log"; do sleep 0.2; done
    kill $pid 2>/dev/null
    wait $pid 2>/dev/null
    exec 7>&-
    if grep -aqE "$3" "$log"; then printf 'xv6.sh: %s harts: %-14s ok    %4d s\n' "$1" "$2" $((SECONDS - start))
    else printf 'xv6.sh: %s harts: %-14s FAIL  %4d s, log:\n' "$1" "$2" $((SECONDS - start)); tail -n 30 "$log"; failures=$((failures + 1)); fi
}

run 1 forktest 'fork test OK'
run 2 forktest 'fork test OK'
run 2 'usertests -q' 'ALL TESTS PASSED'
run 3 'usertests -q' 'ALL TESTS PASSED'
exit "$failures"
