"""The data order, written a second time: walks every lane from its first row, where the program
jumps. Prints one line a batch, SOURCE:ORDINAL in row order.

    python3 tests/golden/data_order.py permute > tests/golden/data_order/permute.txt
    python3 tests/golden/data_order.py replace > tests/golden/data_order/replace.txt
"""

import hashlib
import sys

MASK = (1 << 32) - 1
SEED, BATCH, LANES, VSHARD = 42, 24, 6, 16
SOURCES = [("alpha", 1000, 1.0), ("beta", 333, 2.0)]  # name, samples, weight
PERIOD, QUOTAS = 1000, [333, 667]
STEPS = [0, 1, 2, 249, 250, 1000]


def philox(key, counter):
    k0, k1 = key & MASK, key >> 32
    c = list(counter)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & MASK, (a >> 32) ^ c[3] ^ k1, a & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c


def derive(key, purpose, x):
    w = philox(key, [x & MASK, x >> 32, purpose, 0])
    return w[0] | w[1] << 32


def fmix32(x):
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK
    return x ^ x >> 16


def perm(key, n, i):
    h = (max(8, (n - 1).bit_length()) + 1) // 2
    m = (1 << h) - 1
    keys = philox(key, [0, 0, 7, 0]) + philox(key, [0, 0, 7, 1])
    while True:
        l, r = i >> h, i & m
        for k in keys:
            l, r = r, l ^ (fmix32((r + k) & MASK) & m)
        i = l << h | r
        if i < n:
            return i


class Lane:
    """Rows of one lane of one source, from the first on."""

    def __init__(self, source, lane, replace):
        name, self.n, _ = SOURCES[source]
        digest = hashlib.sha256(name.encode()).digest()
        self.key = derive(SEED, 1, int.from_bytes(digest[:8], "little"))
        self.size = VSHARD
        while self.size > 1 and -(-self.n // self.size) < 8 * LANES:
            self.size //= 2
        self.count = -(-self.n // self.size)
        self.lane, self.replace, self.turn, self.rows = lane, replace, 0, []

    def next(self):
        if not self.rows:
            j = self.lane + self.turn * LANES
            epoch = derive(self.key, 2, j // self.count)
            if self.replace:
                bits = derive(derive(self.key, 5, self.lane), 5, self.turn)
                v = bits * self.count >> 64
            else:
                v = perm(epoch, self.count, j % self.count)
            size = min(self.size, self.n - v * self.size)
            inner = derive(epoch, 3, v)
            self.rows = [v * self.size + perm(inner, size, o) for o in range(size)]
            self.turn += 1
        return self.rows.pop(0)


def main():
    replace = sys.argv[1] == "replace"
    lanes = [[Lane(s, c, replace) for s in range(len(SOURCES))] for c in range(LANES)]
    per_lane = BATCH // LANES
    for step in range(max(STEPS) + 1):
        rows = []
        for c in range(LANES):
            for p in range(step * per_lane, (step + 1) * per_lane):
                key = derive(derive(SEED, 4, c), 4, p // PERIOD)
                slot = perm(key, PERIOD, p % PERIOD)
                source = 0 if slot < QUOTAS[0] else 1
                rows.append(f"{source}:{lanes[c][source].next()}")
        if step in STEPS:
            print(step, *rows)


if __name__ == "__main__":
    main()
