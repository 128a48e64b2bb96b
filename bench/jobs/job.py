# Objects, dictionaries, strings, JSON, big integers: what scripts do.
import hashlib
import json
import re


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def norm(self):
        return self.x * self.x + self.y * self.y


def primes(n):
    sieve = bytearray([1]) * (n + 1)
    for i in range(2, int(n**0.5) + 1):
        if sieve[i]:
            sieve[i * i :: i] = bytes(len(range(i * i, n + 1, i)))
    return [i for i in range(2, n + 1) if sieve[i]]


words = {}
text = " ".join(f"word{i * 7919 % 3001}" for i in range(120000))
for w in text.split():
    words[w] = words.get(w, 0) + 1
total = 0
for i in range(250000):
    total += Point(i % 100, i % 37).norm()
doc = json.dumps({"items": [{"id": i, "name": f"n{i}", "v": i / 7} for i in range(8000)]})
again = json.dumps(json.loads(doc), sort_keys=True)
found = len(re.findall(r"word(\d+)3\b", text))
print(len(words), total, len(primes(300000)), found, hashlib.sha256(again.encode()).hexdigest()[:16], (3**200000).bit_length())
