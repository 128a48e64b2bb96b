#!/usr/bin/env bash
# usage: tests/acceptance/boots.sh [--jobs N] [--logs DIRECTORY] [COUNT] [OPTION...]
# Boots the initramfs COUNT times (default 1000), N at once (default 1), with 1 to 4 harts in turn, asks its shell for the number of its processors
# and leaves it: none may hang or fail, and none may lose a line of its output. OPTIONs go to `viv boot`. Prints a line for every boot that went
# wrong, whose log stays in DIRECTORY (default: a new one in /tmp), and one at the end; the exit status says whether all were well.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
viv=${VIV:-$here/viv}
jobs=1 logs=
while :; do
    case ${1:-} in
        --jobs) jobs=$2; shift 2 ;;
        --logs) logs=$2; shift 2 ;;
        *) break ;;
    esac
done
count=${1:-1000}
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "$logs" ] || logs=$(mktemp -d /tmp/viv-boots.XXXXXX)
mkdir -p "$logs"
{ read -r kernel; read -r initramfs; } < <("$here/tests/acceptance/initramfs" "$work/initramfs.gz")
[ -e "${kernel:-}" ] || { echo "boots.sh: no kernel"; exit 125; }

# boot N OPTION...: one boot; its time goes to a file of its own.
boot() {
    local n=$1 harts=$(($1 % 4 + 1)) log=$logs/$1.log start=${EPOCHREALTIME/./} status took
    shift
    timeout -k 5 "${VIV_BOOT_TIMEOUT:-120}" "$viv" boot --kernel "$kernel" --initrd "$initramfs" --memory 256M --cpus "$harts" \
        --append "console=ttyS0 quiet" "$@" <<<'echo "harts:" $(nproc)
exit' >"$log" 2>&1
    status=$?
    took=$(((${EPOCHREALTIME/./} - start) / 1000))
    if [ "$status" = 0 ] && grep -aq "^harts: $harts" "$log" && grep -aq 'reboot: Power down' "$log"; then
        rm "$log"
        echo "$took ok" >"$work/$n.done"
    else
        echo "$took failed" >"$work/$n.done"
        echo "boots.sh: boot $n with $harts harts: status $status after $took ms, see $log"
    fi
}

for ((n = 1; n <= count; n++)); do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
    boot "$n" "$@" &
done
wait
slowest=$(cat "$work"/*.done | sort -n | tail -n 1 | cut -d' ' -f1)
failed=$(cat "$work"/*.done | grep -c failed)
rmdir "$logs" 2>/dev/null
echo "boots.sh: $count boots, $failed failed, the slowest took $slowest ms"
[ "$failed" = 0 ]
