# Debian's package manager inside viv: the second stage of a bootstrap, apt from a local archive (file: and http:), dpkg, tar with owners, chroot, and
# programs from the packages. VIV_AS_USER=UID runs viv as that user of the host (as root only): owners are then kept in records.
. tests/acceptance/lib.sh
essential="base-files base-passwd bash bsdutils coreutils dash debconf debianutils diffutils dpkg findutils grep gzip hostname init-system-helpers
libc-bin login login.defs ncurses-base ncurses-bin perl-base sed tar util-linux mawk apt debian-archive-keyring passwd adduser mount"
more="sqlite3 git nginx"
work=$SCRATCH
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null' EXIT
tree=$(scripts/debian-tree --packages "$essential" | tail -n 1)
[ -d "$tree" ] || { echo "skip $0: the Debian tree could not be made (is the archive reachable?)"; exit 0; }
mkdir -p "$work"/{stage,repo,home}
scripts/debian-tree --packages "$essential" --debs "$work/stage.list" || { echo "skip $0: the archive is out of reach"; exit 0; }
# shellcheck disable=SC2086
scripts/debian-tree --packages "$essential $more" --debs "$work/repo.list" || { echo "skip $0: the archive is out of reach"; exit 0; }
xargs -d '\n' cp -t "$work/stage" <"$work/stage.list"
xargs -d '\n' cp -t "$work/repo" <"$work/repo.list"
local_archive "$work/repo"
cp -a "$tree" "$work/tree"
as=()
if [ -n "${VIV_AS_USER:-}" ]; then
    chown -R "$VIV_AS_USER:$VIV_AS_USER" "$work"
    chmod 755 "$work"
    as=(setpriv "--reuid=$VIV_AS_USER" "--regid=$VIV_AS_USER" --clear-groups env "HOME=$work/home")
fi

try() { # try WHAT COMMAND: a shell in the bootstrapped tree, the changes of each run on top of those before
    check "$1" timeout -k 5 900 "${as[@]}" "$VIV" run --root "$work/tree" --upper "$work/upper" --volume "$work/stage:/stage:ro" --volume "$work/repo:/repo:ro" \
        --env DEBIAN_FRONTEND=noninteractive --env DEBCONF_NONINTERACTIVE_SEEN=true --env LC_ALL=C /bin/sh -ec "$2" </dev/null
}

try "unpack the essential packages" '
    mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/dpkg/alternatives
    : > /var/lib/dpkg/status; : > /var/lib/dpkg/available; rm -f /etc/passwd /etc/group
    dpkg --force-depends --force-unsafe-io --install /stage/base-passwd_* /stage/base-files_*
    dpkg --force-depends --force-unsafe-io --unpack /stage/*.deb'
try "configure them (second stage)" '
    dpkg --force-unsafe-io --configure -a
    test -z "$(dpkg --audit)"; test "$(dpkg -l | grep -c ^ii)" -ge 60'
try "owners and set-id bits are the packages'" '
    test "$(stat -c "%U:%G %a" /etc/shadow)" = "root:shadow 640"
    test "$(stat -c "%U:%G %a" /usr/bin/su)" = "root:root 4755"
    test "$(stat -c "%U:%G %a" /usr/bin/chage)" = "root:shadow 2755"
    test "$(stat -c "%U:%G %a" /var/mail)" = "root:mail 2775"'
try "apt-get update, file:" '
    rm -f /etc/apt/sources.list.d/*; echo "deb [trusted=yes] file:/repo ./" > /etc/apt/sources.list
    apt-get update; apt-cache show sqlite3 > /dev/null'
try "apt-get install sqlite3, file:" '
    apt-get install -y --no-install-recommends sqlite3'
try "sqlite3" '
    cd /tmp; rm -f x.db
    sqlite3 x.db "create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all select i+1 from n where i < 20000) insert into t select i, hex(i) from n; create index k on t(b);"
    test "$(sqlite3 x.db "pragma journal_mode=wal; update t set b = b || 1; select count(*), sum(length(b)) from t; pragma integrity_check;" | tail -1)" = ok'

if command -v python3 >/dev/null; then
    port=$((20000 + RANDOM % 20000))
    (cd "$work/repo" && exec python3 -m http.server --bind 127.0.0.1 "$port") >/dev/null 2>&1 &
    server=$!
    for _ in $(seq 50); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
    try "apt-get update and install git, http:" "
        echo 'deb [trusted=yes] http://127.0.0.1:$port/ ./' > /etc/apt/sources.list
        apt-get update; apt-get install -y --no-install-recommends git"
    try "git" '
        rm -rf /tmp/a /tmp/b; mkdir /tmp/a; cd /tmp/a; git init -q .; git config user.email a@b; git config user.name n
        for i in 1 2 3; do seq $((i * 1000)) > f$i; git add .; git commit -qm "c$i"; done
        git clone -q /tmp/a /tmp/b; cd /tmp/b; git fsck --full; git log --oneline | wc -l | grep -qx 3; git gc -q; git diff --quiet HEAD'
    try "apt-get install nginx, http:" 'apt-get install -y --no-install-recommends nginx'
    web=$((port + 1))
    try "nginx answers, and stops" "
        mkdir -p /tmp/www; head -c 100000 /dev/zero > /tmp/www/f
        printf 'worker_processes 2; pid /tmp/nginx.pid; error_log /tmp/nginx.log; events { } http { access_log off; server { listen 127.0.0.1:$web; root /tmp/www; } }' > /tmp/nginx.conf
        nginx -c /tmp/nginx.conf
        for i in \$(seq 20); do exec 3<&-; perl -MIO::Socket::INET -e '
            my \$s = IO::Socket::INET->new(\"127.0.0.1:$web\") or die \"connect\"; print \$s \"GET /f HTTP/1.0\\r\\n\\r\\n\"; local \$/; my \$a = <\$s>;
            die length(\$a) unless \$a =~ m{^HTTP/1.1 200} && length(\$a) > 100000'; done
        nginx -c /tmp/nginx.conf -s quit; for i in \$(seq 50); do test -e /tmp/nginx.pid || exit 0; sleep 0.1; done; exit 1"
else
    echo "skip apt over http: no python3 on this host to serve it"
fi
try "dpkg -i, -r and --purge" '
    dpkg -i /stage/hostname_*.deb; dpkg --force-all -r hostname; ! test -e /usr/bin/hostname
    dpkg -i /stage/hostname_*.deb; test -x /usr/bin/hostname'
try "tar, install, chown and mknod with owners" '
    rm -rf /tmp/t /tmp/x.tar; mkdir /tmp/t; cd /tmp
    mknod t/null c 1 3; chown -R 12:34 t; install -o daemon -g mail -m 2755 /bin/true t/i; ln t/i t/j; ln -s i t/l
    tar cf x.tar t; rm -rf t; tar xpf x.tar
    test "$(stat -c "%u:%g %a" t t/i t/j t/null | tr "\n" ,)" = "12:34 755,1:8 2755,1:8 2755,12:34 644,"
    test "$(stat -c %i t/i)" = "$(stat -c %i t/j)"; echo x > t/null; test -c t/null'
try "chroot and mounts" '
    rm -rf /tmp/c; mkdir -p /tmp/c/usr /tmp/c/proc /tmp/c/dev; for d in bin sbin lib; do ln -s usr/$d /tmp/c/$d; done
    mount --bind /usr /tmp/c/usr; mount -t proc proc /tmp/c/proc; mknod -m 666 /tmp/c/dev/null c 1 3
    test "$(chroot /tmp/c /bin/sh -c "cat /proc/self/mounts > /dev/null; echo \$(ls /)")" = "bin dev lib proc sbin usr"
    umount /tmp/c/proc; umount /tmp/c/usr; test -z "$(ls /tmp/c/usr)"'
check "nothing was written below" diff -rq --no-dereference "$tree" "$work/tree"
