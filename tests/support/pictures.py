"""Small pictures for tests, by the standard library alone."""

import random
import struct
import zlib


def write_png(path, seed, side=8):
    """An 8-bit RGB picture of side x side random pixels; makes the folders above."""
    generator = random.Random(seed)
    rows = b"".join(b"\0" + generator.randbytes(3 * side) for _ in range(side))

    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n"
                     + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
