# Compilers and make: programs in C and C++, and Debian's own sources of zlib, lz4 and hello built with make -j4 and tested by their own tests.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "gcc g++ make perl diffutils gawk m4 tar gzip xz-utils file binutils libc6-dev git bc"
cat >"$root/tmp/t.cc" <<'C'
#include <algorithm>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
int main() {
    std::map<std::string, int> m{{"a", 1}, {"b", 2}};
    std::vector<std::thread> t;
    std::vector<int> v(8);
    for (int i = 0; i < 8; i++) t.emplace_back([&v, i] { v[i] = i * i; });
    for (auto &x : t) x.join();
    try { throw std::runtime_error("caught"); } catch (const std::exception &e) { std::cout << e.what() << ' '; }
    std::cout << m["b"] << ' ' << *std::max_element(v.begin(), v.end()) << '\n';
}
C
check "g++ -O2 with exceptions and threads" guest 300 "$root" /bin/sh -c 'g++ -O2 -pthread t.cc -o t && test "$(./t)" = "caught 2 49"'
check "gcc -g -O1 -flto" guest 300 "$root" /bin/sh -c 'echo "int f(int); int main(){return f(41)-42;}" > a.c; echo "int f(int x){return x+1;}" > b.c; gcc -g -O1 -flto a.c b.c -o ab && ./ab'
check "git init, commit, clone, log" guest 120 "$root" /bin/sh -c 'export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    rm -rf r r2; git init -q r && cd r && for i in 1 2 3; do echo $i > f$i && git add . && git commit -qm "c$i"; done && cd .. && git clone -q r r2 && test $(git -C r2 log --oneline | wc -l) = 3 && git -C r2 fsck'
# Sources as the archive has them.
for name in zlib lz4 hello; do
    if ! scripts/debian-source "$name" "$root/tmp/$name" >"$SCRATCH/$name.log" 2>&1; then
        echo "skip $name: $(tail -n 1 "$SCRATCH/$name.log")"
        continue
    fi
    case $name in
        zlib) build='./configure && make -j4 && make test' ;;
        lz4) build='make -j4 && make -C tests fullbench fuzzer frametest && ./tests/fuzzer -i100 && ./tests/frametest -i20' ;;
        # Its config.guess is older than riscv64; Debian's build replaces it.
        hello) build='./configure --build=riscv64-unknown-linux-gnu && make -j4 && make check' ;;
    esac
    check "$name from source: make -j4 and its tests" guest 1200 "$root" /bin/sh -c "cd $name && $build"
done
