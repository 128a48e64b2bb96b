# debootstrap in two stages: the first on the host (--foreign, from a local archive that it finds as it finds Debian's), the second, by the tree's own
# programs, under viv as a plain guest root; then the tree is what a minimal Debian is.
. tests/acceptance/lib.sh
tool=$(scripts/debian-tree --packages debootstrap | tail -n 1)
lists=${XDG_CACHE_HOME:-$HOME/.cache}/vivarium/debian/trixie-riscv64/lists
index=$(ls "$lists"/*Packages* 2>/dev/null | head -n 1)
[ -x "$tool/usr/sbin/debootstrap" ] && [ -r "$index" ] || { echo "skip $0: debootstrap or the archive's index could not be fetched"; exit 0; }
command -v wget >/dev/null || { echo "skip $0: debootstrap wants wget: apt-get install wget"; exit 0; }
read_index() { case $index in *.lz4) lz4 -dc "$index" ;; *.xz) xz -dc "$index" ;; *.gz) gzip -dc "$index" ;; *) cat "$index" ;; esac; }
read_index >"$SCRATCH/index"
required=$(awk -v RS= '/\nPriority: required\n/ { print $2 }' "$SCRATCH/index" | tr '\n' ' ')
# shellcheck disable=SC2086
scripts/debian-tree --packages "$required apt" --debs "$SCRATCH/debs" || { echo "skip $0: the packages could not be fetched"; exit 0; }
repo=$SCRATCH/repo
mkdir -p "$repo/pool" "$repo/dists/trixie/main/binary-riscv64"
xargs -d '\n' cp -t "$repo/pool" <"$SCRATCH/debs"
sed 's:.*/::; s:_.*::' "$SCRATCH/debs" >"$SCRATCH/names"
for deb in "$repo"/pool/*%3a*; do mv "$deb" "${deb//%3a/.}"; done
# The archive's own index of these packages, with the place where they lie here.
awk 'NR == FNR { want[$1]; next } $2 in want' "$SCRATCH/names" RS= ORS='\n\n' "$SCRATCH/index" >"$SCRATCH/chosen"
while IFS= read -r line; do
    case $line in
        Package:*) package=${line#* } ;;
        Filename:*) line="Filename: pool/$(cd "$repo/pool" && ls -d "${package}"_*)" ;;
    esac
    printf '%s\n' "$line"
done <"$SCRATCH/chosen" >"$repo/dists/trixie/main/binary-riscv64/Packages"
gzip -k "$repo/dists/trixie/main/binary-riscv64/Packages"
(cd "$repo/dists/trixie" && { printf 'Suite: trixie\nCodename: trixie\nArchitectures: riscv64\nComponents: main\nSHA256:\n'
    for f in main/binary-riscv64/Packages main/binary-riscv64/Packages.gz; do printf ' %s %s %s\n' "$(sha256sum $f | cut -d' ' -f1)" "$(stat -c %s $f)" $f; done; } >Release)
root=$SCRATCH/root
check "debootstrap --foreign on the host" env DEBOOTSTRAP_DIR="$tool/usr/share/debootstrap" sh "$tool/usr/sbin/debootstrap" --foreign --arch=riscv64 \
    --variant=minbase --no-check-gpg trixie "$root" "file://$repo"
[ -x "$root/debootstrap/debootstrap" ] || { tail -n 20 "$root/debootstrap/debootstrap.log" >&2; exit 1; }
second() { timeout -k 5 1800 "$VIV" run --root "$root" --env HOME=/root --env PATH=/usr/sbin:/usr/bin:/sbin:/bin --env LC_ALL=C /debootstrap/debootstrap --second-stage </dev/null; }
check "debootstrap --second-stage in viv" second
[ -d "$root/debootstrap" ] && tail -n 30 "$root/debootstrap/debootstrap.log" >&2
check "dpkg knows all packages as installed" guest 60 "$root" /bin/sh -c 'test -z "$(dpkg --audit)" && test "$(dpkg -l | grep -c ^ii)" -ge 55 && ! dpkg -l | grep "^i[^i]"'
check "owners and set-id bits are the packages'" guest 60 "$root" /bin/sh -c 'test "$(stat -c "%U:%G %a" /etc/shadow /usr/bin/passwd 2>/dev/null | tr "\n" ,)" = "root:shadow 640,root:root 4755,"'
check "apt runs in it" guest 60 "$root" /usr/bin/apt-cache policy apt
