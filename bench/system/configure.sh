# What a configure script does all day: small programs, pipes, command substitutions, here documents, in /tmp. Prints the same everywhere.
dir=$(mktemp -d /tmp/viv-bench.XXXXXX)
cd "$dir" || exit 1
i=0
while [ $i -lt 40 ]; do
    i=$((i + 1))
    cat >conftest.$i <<END
#define HAVE_$i 1
checking for feature $i... yes
END
    case $(sed -n 's/^checking for \(.*\)\.\.\..*/\1/p' conftest.$i) in
        "feature $i") echo "ac_cv_$i=yes" >>cache ;;
        *) echo "ac_cv_$i=no" >>cache ;;
    esac
    if grep -q "HAVE_$i" conftest.$i && expr "x$i" : 'x[0-9]*$' >/dev/null; then cat conftest.$i >>config.h; fi
    mv conftest.$i done.$i
    rm -f done.$i
done
sort cache | uniq | wc -l
tr a-z A-Z <config.h | grep -c DEFINE
cd / && rm -r "$dir"
