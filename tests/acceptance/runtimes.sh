# Language runtimes that translate at run time or schedule by signals.
. tests/acceptance/lib.sh
root=$SCRATCH/root
fresh_tree "$root" "nodejs openjdk-21-jdk-headless golang-go rustc perl sqlite3 lua5.4 ruby"
cat >"$root/tmp/t.js" <<'S'
const { Worker, isMainThread, parentPort } = require('worker_threads');
const http = require('http'), assert = require('assert');
if (!isMainThread) { let s = 0; for (let i = 0; i < 3e6; i++) s = (s + i * i) % 1000003; parentPort.postMessage(s); return; }
const workers = [0, 1, 2, 3].map(() => new Promise((ok, no) => new Worker(__filename).on('message', ok).on('error', no)));
Promise.all(workers).then(r => {
  assert(new Set(r).size === 1);
  const server = http.createServer((q, a) => a.end('hello ' + q.url)).listen(0, '127.0.0.1', () =>
    http.get({ port: server.address().port, path: '/x' }, a => { let d = ''; a.on('data', c => d += c).on('end', () => { assert.equal(d, 'hello /x'); server.close(); console.log('node ok'); }); }));
});
S
cat >"$root/tmp/T.java" <<'S'
import java.util.*; import java.util.concurrent.*; import java.util.stream.*;
public class T { public static void main(String[] a) throws Exception {
  var pool = Executors.newFixedThreadPool(4); var f = new ArrayList<Future<Long>>();
  for (int i = 0; i < 8; i++) { final int k = i; f.add(pool.submit(() -> LongStream.range(0, 2_000_000).map(x -> x * k % 7).sum())); }
  long s = 0; for (var x : f) s += x.get(); pool.shutdown();
  String n = null; try { n.length(); throw new Error(); } catch (NullPointerException e) { }
  System.gc(); System.out.println("java ok " + s); } }
S
cat >"$root/tmp/t.go" <<'S'
package main
import ("fmt"; "io"; "net/http"; "net/http/httptest"; "runtime"; "sync")
func main() {
  var wg sync.WaitGroup; var mu sync.Mutex; n := 0
  for i := 0; i < 1000; i++ { wg.Add(1); go func() { defer wg.Done(); for j := 0; j < 1000; j++ { if j%100 == 0 { runtime.Gosched() } }; mu.Lock(); n++; mu.Unlock() }() }
  done := make(chan bool); go func() { for i := 0; i < 3; i++ { runtime.GC() }; done <- true }()
  go func() { for { } }() // only preemption by signal gets the processor back
  wg.Wait(); <-done
  s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hi") })); defer s.Close()
  r, err := http.Get(s.URL); if err != nil { panic(err) }; b, _ := io.ReadAll(r.Body)
  func() { defer func() { recover() }(); var p *int; *p = 1 }()
  fmt.Println("go ok", n, string(b))
}
S
cat >"$root/tmp/t.rs" <<'S'
use std::{collections::HashMap, sync::mpsc, thread};
fn main() { let (t, r) = mpsc::channel();
  for i in 0..8u64 { let t = t.clone(); thread::spawn(move || { let m: HashMap<u64, u64> = (0..10000).map(|k| (k, k * i)).collect(); t.send(m.values().sum::<u64>()).unwrap(); }); }
  drop(t); let s: u64 = r.iter().sum(); assert!(std::panic::catch_unwind(|| { let v: Vec<i32> = vec![]; v[0] }).is_err()); println!("rust ok {s}"); }
S
check "node: workers and http" guest 300 "$root" /bin/sh -c 'node t.js | grep "node ok"'
check "java: compile" guest 600 "$root" /bin/sh -c '/usr/lib/jvm/java-21-openjdk-riscv64/bin/javac T.java'
check "java: run with C1 and C2, threads, null pointer traps" guest 600 "$root" /bin/sh -c '/usr/lib/jvm/java-21-openjdk-riscv64/bin/java -cp . T | grep "java ok"'
check "go: build and run, goroutines, preemption, net/http" guest 900 "$root" /bin/sh -c 'export GOCACHE=/tmp/gc GO111MODULE=off; go build -o tgo t.go && ./tgo | grep "go ok 1000 hi"'
check "rustc -O: build and run" guest 900 "$root" /bin/sh -c 'rustc -O t.rs -o trs 2>&1 && ./trs 2>/dev/null | grep "rust ok"'
check "perl: fork, sockets, sort" guest 120 "$root" /usr/bin/perl -e 'pipe(R,W); if (!fork) { print W join(",", sort { $a <=> $b } map { $_ * 7 % 101 } 1..100), "\n"; exit } close W; my $l = <R>; wait; exit($l =~ /^1,2,3,4/ ? 0 : 1)'
check "sqlite3: transactions, index, integrity" guest 120 "$root" /bin/sh -c 'rm -f d; sqlite3 d "create table t(a,b); with recursive c(x) as (select 1 union all select x+1 from c where x<50000) insert into t select x, x*7919%10007 from c; create index i on t(b); pragma integrity_check;" | grep -x ok'
check "ruby: threads and fork" guest 120 "$root" /usr/bin/ruby -e 'q = Queue.new; 4.times { |i| Thread.new { q << (1..20000).sum * i } }; s = 4.times.sum { q.pop }; r, w = IO.pipe; fork { w.puts s }; w.close; Process.wait; exit(r.gets.to_i == s)'
