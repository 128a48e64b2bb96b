# A report over a web server's log.
{
    split($1, ip, ".")
    hits[ip[1] "." ip[2] "." ip[3]]++
    bytes[$7] += $NF
    if (match($4, /:[0-9][0-9]:/)) hour[substr($4, RSTART + 1, 2)]++
    if ($0 ~ /\/api\/(items|users)\/.*" 404/) missing++
    page = $7
    gsub(/[0-9]+/, "N", page)
    pages[page]++
    n = length($0)
    sum += n
    squares += n * n
}
END {
    for (i in bytes) if (bytes[i] > top) { top = bytes[i]; name = i }
    for (p in pages) distinct++
    for (h in hits) if (hits[h] > most || (hits[h] == most && h < net)) { most = hits[h]; net = h }
    printf "%s %d %s %d %d %d %.3f %d\n", name, top, net, most, missing, distinct, sqrt(squares / NR - (sum / NR) ^ 2), hour["12"]
}
