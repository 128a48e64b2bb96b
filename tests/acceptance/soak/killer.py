# Kills, stops and continues at random what carries SOAK=kill in its environment, until it is killed itself.
# `killer.py sweep` kills at once all that carries SOAK=, and says how many.
import os, random, signal, sys, time

def marked(mark):
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid(): continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f: environment = f.read()
            with open(f"/proc/{name}/comm") as f: comm = f.read().strip()
        except OSError: continue
        if mark in environment and comm != "timeout": yield int(name)

def kill(pid, s):
    try: os.kill(pid, s)
    except OSError: pass

if sys.argv[1:] == ["sweep"]:
    for _ in range(20):
        found = list(marked(b"SOAK="))
        if not found: break
        for pid in found: kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    if not found: sys.exit(0)
    with open("/soak/left", "a") as log: # what they are
        for pid in found:
            try:
                with open(f"/proc/{pid}/stat") as f: print(f.read().strip(), file=log)
            except OSError as e: print(pid, e, file=log)
    sys.exit(1)
choice = random.Random(int(sys.argv[1]))
while True:
    time.sleep(choice.uniform(0.05, 0.7))
    found = list(marked(b"SOAK=kill"))
    if not found: continue
    pid = choice.choice(found)
    what = choice.randrange(6)
    if what < 3: kill(pid, signal.SIGKILL)
    elif what == 3: kill(pid, signal.SIGTERM)
    elif what == 4: kill(pid, choice.choice([signal.SIGSEGV, signal.SIGINT, signal.SIGUSR1, signal.SIGABRT]))
    else:
        kill(pid, signal.SIGSTOP)
        time.sleep(choice.uniform(0, 0.2))
        kill(pid, signal.SIGCONT)
