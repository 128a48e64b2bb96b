#!/usr/bin/env bash
# usage: tests/acceptance/boots.sh [COUNT] [OPTION...]
# Boots the initramfs COUNT times (default 1000), with 1 to 4 harts in turn, and switches it off from its shell: none may hang or fail. OPTIONs go to
# `viv boot`. Prints a line for every boot that went wrong, with the end of its output, and one at the end; the exit status says whether all were well.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
viv=${VIV:-$here/viv}
count=${1:-1000}
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{ read -r kernel; read -r initramfs; } < <("$here/tests/acceptance/initramfs" "$work/initramfs.gz")
[ -e "${kernel:-}" ] || { echo "boots.sh: no kernel"; exit 125; }
failed=0 slowest=0
for ((n = 1; n <= count; n++)); do
    start=${EPOCHREALTIME/./}
    timeout "${VIV_BOOT_TIMEOUT:-120}" "$viv" boot --kernel "$kernel" --initrd "$initramfs" --memory 256M --cpus $((n % 4 + 1)) \
        --append "console=ttyS0 quiet" "$@" <<<"[ \$(nproc) = $((n % 4 + 1)) ] || sleep 1000; exit" >"$work/log" 2>&1
    status=$?
    took=$(((${EPOCHREALTIME/./} - start) / 1000))
    [ "$took" -le "$slowest" ] || slowest=$took
    if [ "$status" != 0 ] || ! grep -aq 'reboot: Power down' "$work/log"; then
        failed=$((failed + 1))
        echo "boots.sh: boot $n with $((n % 4 + 1)) harts: status $status after $took ms:"
        tail -n 5 "$work/log"
    fi
done
echo "boots.sh: $count boots, $failed failed, the slowest took $slowest ms"
[ "$failed" = 0 ]
