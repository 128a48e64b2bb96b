#!/usr/bin/env bash
# usage: tests/acceptance/boot.sh [RUNG...]
# The ladder of machine mode: boots Debian trixie's unmodified kernel (and OpenSBI, U-Boot) in viv, rung by rung, and checks what the guest says.
# Each rung prints one line; the exit status is the number of rungs that failed. Needs a Debian host; takes some minutes.
set -uo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
viv=${VIV:-$here/viv}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
"$here/scripts/need" python3 xz </dev/null || exit 125
{ read -r kernel; read -r initramfs; } < <("$here/tests/acceptance/initramfs" "$work/initramfs.gz")
[ -e "${kernel:-}" ] || { echo "boot.sh: no kernel"; exit 125; }
opensbi=/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin
uboot=/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin
failures=0

# rung NAME STATUS PATTERN COMMANDS VIV-OPTIONS...: COMMANDS go to the console; the pattern must show in the output.
rung() {
    local name=$1 status=$2 pattern=$3 commands=$4 start=$SECONDS got
    shift 4
    timeout "${VIV_BOOT_TIMEOUT:-300}" "$viv" boot "$@" <<<"$commands" >"$work/$name.log" 2>&1
    got=$?
    if [ "$got" = "$status" ] && grep -aqE "$pattern" "$work/$name.log"; then
        printf 'boot.sh: %-12s ok    %4d s\n' "$name" $((SECONDS - start))
    else
        printf 'boot.sh: %-12s FAIL  %4d s, status %s, log:\n' "$name" $((SECONDS - start)) "$got"
        tail -n 30 "$work/$name.log"
        failures=$((failures + 1))
    fi
}

linux=(--kernel "$kernel" --initrd "$initramfs")
run_shell() { rung shell 0 'riscv64 GNU/Linux' 'uname -a
exit' "${linux[@]}" --memory 512M; }
run_minimal() { rung minimal 0 'rv64imafdc_zicntr_zicsr_zifencei' 'cat /proc/cpuinfo
exit' "${linux[@]}" --memory 256M --minimal; }
run_smp() { rung smp 0 '^4' 'nproc
exit' "${linux[@]}" --memory 512M --cpus 4; }
run_devices() {
    mkdir "$work/www"; head -c 3000000 /dev/urandom >"$work/www/data"
    (cd "$work/www" && exec python3 -m http.server 0 --bind 127.0.0.1 >"$work/port" 2>/dev/null) &
    server=$!
    local port='' sum
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        # the port is what the kernel says that the server listens on
        port=$(python3 - "$server" <<'PY'
import os, sys
inodes = {os.readlink(f"/proc/{sys.argv[1]}/fd/{f}") for f in os.listdir(f"/proc/{sys.argv[1]}/fd")}
for line in list(open("/proc/net/tcp"))[1:]:
    f = line.split()
    if f[3] == "0A" and f"socket:[{f[9]}]" in inodes:
        print(int(f[1].split(":")[1], 16))
PY
        ) || port=
        [ -n "$port" ] && break; sleep 0.5
    done
    sum=$(md5sum <"$work/www/data" | cut -d' ' -f1)
    truncate -s 64M "$work/disk.img"
    rung devices 0 "^$sum" "ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
wget -q -O - http://10.0.2.2:$port/data | md5sum
echo written | dd of=/dev/vda bs=512 conv=sync; exit" "${linux[@]}" --memory 512M --net user --disk "$work/disk.img" --append "console=ttyS0 viv.modules"
    grep -aq written "$work/disk.img" || { echo "boot.sh: devices      FAIL  the disk was not written"; failures=$((failures + 1)); }
}
# The same devices on PCI Express, with DHCP and a qcow2 disk that is consistent afterwards.
run_pci() {
    "$here/scripts/need" qemu-img </dev/null || { failures=$((failures + 1)); return; }
    qemu-img create -q -f qcow2 "$work/disk.qcow2" 256M
    rung pci 0 '^written' 'ip link set eth0 up; udhcpc -i eth0 -q -n; ip addr add 10.0.2.15/24 dev eth0; ping -c 1 10.0.2.2
echo written | dd of=/dev/vda bs=1M seek=100 conv=sync,fsync; echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M skip=100 count=1 | head -n 1; exit' \
        "${linux[@]}" --memory 512M --bus pci --net user --disk "$work/disk.qcow2" --append "console=ttyS0 viv.modules"
    for line in 'lease of 10.0.2.15 obtained' '1 packets received'; do
        grep -aq "$line" "$work/pci.log" || { echo "boot.sh: pci          FAIL  no '$line'"; failures=$((failures + 1)); }
    done
    qemu-img check -q "$work/disk.qcow2" || { echo "boot.sh: pci          FAIL  the image is damaged"; failures=$((failures + 1)); }
}
run_opensbi() { rung opensbi 0 'OpenSBI v.*' 'uname -a
exit' "${linux[@]}" --memory 512M --firmware "$opensbi"; grep -aq 'riscv64 GNU/Linux' "$work/opensbi.log" || failures=$((failures + 1)); }
run_uboot() { rung uboot 0 'U-Boot 20' ' 
version
poweroff' --memory 256M --firmware "$opensbi" --kernel "$uboot"; }
run_reboot() { rung reboot 0 'reboot: Restarting system' 'reboot -f' "${linux[@]}" --memory 512M --no-reboot; }

# Suspend to RAM by the SBI, woken by a key; the clock of the guest stands still meanwhile.
run_suspend() {
    local name=suspend start=$SECONDS
    {
        printf 'echo enabled >/sys/class/tty/ttyS0/power/wakeup; dmesg | grep riscv-pmu-sbi; echo mem >/sys/power/state; dmesg | grep "PM: suspend exit"\n'
        for _ in $(seq 100); do grep -aq 'CPU1: off' "$work/$name.log" && break; sleep 0.2; done
        sleep 2; printf '\n'
        for _ in $(seq 100); do grep -aq 'suspend exit' "$work/$name.log" && break; sleep 0.2; done
        echo exit
    } | timeout "${VIV_BOOT_TIMEOUT:-300}" "$viv" boot "${linux[@]}" --memory 256M --cpus 2 --append "console=ttyS0 no_console_suspend" >"$work/$name.log" 2>&1
    if [ "${PIPESTATUS[1]}" = 0 ] && grep -aq '^.*PM: suspend exit' "$work/$name.log" && grep -aq '16 firmware and 2 hardware counters' "$work/$name.log"; then
        printf 'boot.sh: %-12s ok    %4d s\n' $name $((SECONDS - start))
    else
        printf 'boot.sh: %-12s FAIL  %4d s, log:\n' $name $((SECONDS - start))
        tail -n 30 "$work/$name.log"
        failures=$((failures + 1))
    fi
}

# A machine that is saved at a prompt and goes on as another process, with all devices on either bus; and with firmware.
run_saved() {
    local pid log start status ok n=0
    for options in "--console uart --net user" "--console virtio --bus pci --net user" "--firmware $opensbi" "--minimal"; do
        n=$((n + 1)); start=$SECONDS; log=$work/saved$n.log; ok=1; rm -f "$work/now.viv" "$work/typed"; mkfifo "$work/typed"
        exec 7<>"$work/typed"
        # shellcheck disable=SC2086
        VIV_NO_BUILD=1 "$viv" boot "${linux[@]}" --memory 256M --cpus 2 $options --save "$work/now.viv" <"$work/typed" >"$log" 2>&1 &
        pid=$!
        for _ in $(seq 300); do grep -aq 'viv# ' "$log" && break; sleep 0.2; done
        echo 'x=remem; sleep 1000 & top=1; echo $((40+2))' >&7
        for _ in $(seq 100); do grep -aq '^42' "$log" && break; sleep 0.2; done
        kill -USR1 "$pid"; wait "$pid"; status=$?
        exec 7>&-
        [ "$status" = 0 ] && [ -s "$work/now.viv" ] || ok=
        # shellcheck disable=SC2086
        echo 'echo ${x}bered; jobs; exit' | timeout 100 "$viv" boot --memory 256M --cpus 2 $options --load "$work/now.viv" >>"$log" 2>&1 || ok=
        grep -aq '^remembered' "$log" && grep -aq 'Running.*sleep 1000' "$log" && grep -aq 'reboot: Power down' "$log" || ok=
        if [ -n "$ok" ]; then printf 'boot.sh: %-12s ok    %4d s (%s)\n' saved $((SECONDS - start)) "$options"
        else printf 'boot.sh: %-12s FAIL  %4d s (%s), log:\n' saved $((SECONDS - start)) "$options"; tail -n 30 "$log"; failures=$((failures + 1)); fi
    done
}

# A signal from outside ends the machine at once, whatever its harts do, with the status that shells expect.
run_signals() {
    local signal want got start=$SECONDS bad=
    for signal in TERM SEGV ABRT; do # bash itself gives up where a child dies of INT
        want=$((128 + $(kill -l "$signal")))
        "$viv" boot "${linux[@]}" --memory 256M --cpus 2 </dev/null >"$work/signals.log" 2>&1 &
        local pid=$!
        for _ in $(seq 100); do grep -aq 'viv# ' "$work/signals.log" && break; sleep 0.2; done
        kill -"$signal" "$pid"
        for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
        if kill -0 "$pid" 2>/dev/null; then bad="$bad $signal:still-there"; kill -KILL "$pid"; fi
        wait "$pid" 2>/dev/null
        got=$?
        [ "$got" = "$want" ] || bad="$bad $signal:$got"
    done
    if [ -z "$bad" ]; then printf 'boot.sh: %-12s ok    %4d s\n' signals $((SECONDS - start))
    else printf 'boot.sh: %-12s FAIL  %4d s,%s\n' signals $((SECONDS - start)) "$bad"; failures=$((failures + 1)); fi
}

for file in "$opensbi" "$uboot"; do
    [ -e "$file" ] || { echo "boot.sh: $file is missing: apt-get install opensbi u-boot-qemu"; exit 125; }
done
[ $# -gt 0 ] || set -- shell minimal smp devices pci reboot suspend saved signals uboot opensbi
for name in "$@"; do "run_$name"; done
exit "$failures"
