# What the soak's lanes run: python3 jobs.py NAME, one bounded piece of work that checks itself.
import asyncio, mmap, multiprocessing, os, random, select, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, threading, time

def threads():
    lock, total, queue = threading.Condition(), [0], []
    def work(n):
        for i in range(300):
            with lock:
                total[0] += i
                queue.append(n)
                lock.notify()
    def drain():
        seen = 0
        while seen < 8 * 300:
            with lock:
                while not queue: lock.wait()
                seen += len(queue)
                queue.clear()
    for _ in range(5):
        total[0] = 0
        t = [threading.Thread(target=work, args=(n,)) for n in range(8)] + [threading.Thread(target=drain)]
        for x in t: x.start()
        for x in t: x.join()
        assert total[0] == 8 * sum(range(300))

def children():
    for i in range(15):
        p = subprocess.run("seq 2000 | sort -rn | head -n 1", shell=True, capture_output=True, text=True)
        assert p.stdout == "2000\n", p
    for i in range(60):
        pid = os.fork()
        if pid == 0: os._exit(i)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == i

def square(x): return x * x

def pool():
    with multiprocessing.get_context("fork").Pool(4) as p:
        assert p.map(square, range(500)) == [x * x for x in range(500)]
    q = multiprocessing.get_context("fork").Queue()
    c = [multiprocessing.get_context("fork").Process(target=q.put, args=(i,)) for i in range(8)]
    for p in c: p.start()
    assert sorted(q.get() for _ in c) == list(range(8))
    for p in c: p.join()

def signals():
    count = [0]
    signal.signal(signal.SIGALRM, lambda *_: count.__setitem__(0, count[0] + 1))
    signal.signal(signal.SIGUSR1, lambda *_: count.__setitem__(0, count[0] + 1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        os.kill(os.getpid(), signal.SIGUSR1)
        sum(range(1000))
        time.sleep(0.0005)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert count[0] > 100, count
    pid = os.fork()
    if pid == 0:
        while True: signal.pause()
    for _ in range(30):
        os.kill(pid, signal.SIGSTOP); assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        os.kill(pid, signal.SIGCONT); assert os.WIFCONTINUED(os.waitpid(pid, os.WCONTINUED)[1])
    os.kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL

def sockets():
    async def serve(r, w):
        while line := await r.readline(): w.write(line)
        w.close()
    async def client(port, n):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        for i in range(50):
            w.write(b"%d %d\n" % (n, i)); assert await r.readline() == b"%d %d\n" % (n, i)
        w.close()
    async def main():
        s = await asyncio.start_server(serve, "127.0.0.1", 0)
        await asyncio.gather(*(client(s.sockets[0].getsockname()[1], n) for n in range(20)))
        s.close()
    asyncio.run(main())
    a, b = socket.socketpair()
    r, w = os.pipe()
    for i in range(200): # a descriptor there and back
        socket.send_fds(a, [b"x"], [r]); _, fds, _, _ = socket.recv_fds(b, 1, 1)
        os.write(w, b"y"); assert os.read(fds[0], 1) == b"y"; os.close(fds[0])

def memory():
    shared = mmap.mmap(-1, 1 << 20)
    private = bytearray(16 << 20)
    for i in range(20):
        pid = os.fork()
        if pid == 0:
            for p in range(i * 4096, len(private), 40960): private[p] = i
            shared[i] = i + 1
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert shared[i] == i + 1 and private[i * 4096] == 0
    for i in range(30):
        with tempfile.TemporaryFile() as f:
            f.truncate(1 << 20)
            with mmap.mmap(f.fileno(), 1 << 20) as m: m[i * 4096] = 7
            f.seek(i * 4096); assert f.read(1) == b"\7"

def files():
    d = tempfile.mkdtemp()
    try:
        for i in range(200):
            with open(f"{d}/{i}", "w") as f: f.write("x" * i)
        for i in range(0, 200, 2): os.rename(f"{d}/{i}", f"{d}/r{i}")
        assert len(os.listdir(d)) == 200 and sum(e.stat().st_size for e in os.scandir(d)) == sum(range(200))
        db = sqlite3.connect(f"{d}/db", isolation_level=None)
        db.execute("create table t(a)")
        db.execute("begin"); db.executemany("insert into t values(?)", ((i,) for i in range(2000))); db.execute("commit")
        assert db.execute("select sum(a) from t").fetchone()[0] == sum(range(2000))
        db.close()
    finally: shutil.rmtree(d)

globals()[sys.argv[1]]()
