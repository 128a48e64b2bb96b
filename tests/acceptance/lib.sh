# Sourced by the acceptance scripts. VIV is the binary, SCRATCH a directory of the script's own.
set -uo pipefail

# fresh_tree DIR PACKAGES: a copy of a Debian riscv64 tree with these packages, to be written to; skips the script where it cannot be made.
fresh_tree() {
    local tree
    tree=$(scripts/debian-tree --packages "base-files base-passwd libc6 bash dash coreutils sed grep findutils $2" | tail -n 1)
    [ -d "$tree" ] || { echo "skip $0: the Debian tree could not be made (is the archive reachable?)"; exit 0; }
    cp -a --reflink=auto "$tree" "$1"
    mkdir -p "$1"/{tmp,root,proc,sys,dev,run}
    chmod 1777 "$1/tmp"
    # What the packages' own scripts would have made.
    [ -e "$1/etc/passwd" ] || cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"
    [ -e "$1/etc/group" ] || cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"
    [ -e "$1/etc/hosts" ] || echo '127.0.0.1 localhost' >"$1/etc/hosts"
}

# guest SECONDS DIR COMMAND...: runs a command in the tree, its output on standard output.
guest() {
    local seconds=$1 root=$2
    shift 2
    timeout -k 5 "$seconds" "$VIV" run --root "$root" --workdir /tmp --env HOME=/root --env PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin --env LANG=C.UTF-8 "$@" </dev/null 2>&1
}

# check WHAT COMMAND...: one result line; what a failing command printed goes to standard error.
check() {
    local what=$1 start=$SECONDS output status
    shift
    output=$("$@" 2>&1)
    status=$?
    if [ "$status" = 0 ]; then
        echo "ok $what ($((SECONDS - start)) s)"
    else
        echo "FAIL $what: status $status: $(tail -n 1 <<<"$output" | cut -c1-160)"
        printf '%s\n' "---- $what" "$(tail -n 25 <<<"$output")" >&2
    fi
}

# local_archive DIR: makes the .deb files in a directory an archive that apt can read (deb [trusted=yes] file:DIR ./).
local_archive() {
    local deb plain
    (cd "$1" && for deb in *.deb; do
        # apt wants no percent signs in names.
        plain=${deb//%3a/.}
        [ "$deb" = "$plain" ] || mv "$deb" "$plain"
        dpkg-deb -f "$plain"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$plain" "$(stat -c %s "$plain")" "$(sha256sum "$plain" | cut -d' ' -f1)"
    done >Packages)
}
