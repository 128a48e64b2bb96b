# A mix of ciphers, digests and checksums, each for a while: what a server of many protocols does.
import binascii
import hashlib
import hmac
import zlib

data = bytes(i * 7 & 255 for i in range(1 << 15))
mixes = [
    ["sha256", "md5", "crc32", "sha3_256"],
    ["sha512", "blake2b", "adler32", "sha1"],
    ["blake2s", "sha3_512", "hmac", "sha384"],
    ["pbkdf2", "shake_128", "sha224", "hex"],
]
total = 0


def one(name, n):
    if name == "crc32":
        return zlib.crc32(data, n)
    if name == "adler32":
        return zlib.adler32(data, n)
    if name == "hmac":
        return hmac.digest(data[:32], data, "sha256")[n % 32]
    if name == "pbkdf2":
        return hashlib.pbkdf2_hmac("sha256", b"word", data[:16], 40)[n % 32]
    if name == "hex":
        return binascii.unhexlify(binascii.hexlify(data))[n % 1000]
    h = hashlib.new(name, data)
    return (h.digest(32) if name.startswith("shake") else h.digest())[n % 16]


for rounds in range(3):
    for mix in mixes:
        for n in range(150):
            for name in mix:
                total += one(name, n)
print(total)
