"""Shards as others write them, and what webdataset reads out of them.

peer_shards.py FOLDER writes one set of samples with webdataset's TarWriter and with Python's tarfile
in each of its formats, reads every shard with webdataset, and prints a line a member:
SHARD, KEY, SUFFIX, SHA-256 of the bytes, tab-separated. Exits 77 without webdataset.
"""

import hashlib
import io
import json
import sys
import tarfile
import warnings

warnings.filterwarnings("ignore")

try:
    import webdataset
except ImportError:
    sys.exit(77)

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def samples():
    for i in range(12):
        key = [f"{i:05d}", f"folder/{i:05d}", "d" * 80 + f"/{i:05d}" + "n" * 60][i % 3]
        yield key, {
            "jpg": bytes([255, 216, 255, i]) * (300 + 97 * i),
            "txt": f"Bild {i}: Käse, 奶酪".encode(),
            "json": json.dumps({"i": i, "nan": float("nan")}).encode(),
            "Seg.PNG": bytes([i]) * i,
        }


def write_with_tarfile(path, kind):
    mode = "w:gz" if path.endswith("gz") else "w"
    with tarfile.open(path, mode, format=FORMATS[kind]) as tar:
        for name in ["__meta__/about.txt", ".hidden.txt", "README"]:
            add(tar, name, b"of no sample")
        for key, members in samples():
            for suffix, content in members.items():
                add(tar, f"{key}.{suffix}", content, mtime=1.25 if kind == "pax" else 1)


def add(tar, name, content, mtime=0):
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), mtime
    tar.addfile(info, io.BytesIO(content))


def main():
    folder = sys.argv[1]
    names = []
    with webdataset.TarWriter(f"{folder}/webdataset.tar", encoder=False) as writer:
        for key, members in samples():
            writer.write({"__key__": key, **members})
    names.append("webdataset.tar")
    for kind in FORMATS:
        write_with_tarfile(f"{folder}/{kind}.tar", kind)
        names.append(f"{kind}.tar")
    write_with_tarfile(f"{folder}/packed.tar.gz", "gnu")
    names.append("packed.tar.gz")
    for name in names:
        for sample in webdataset.WebDataset(f"{folder}/{name}", shardshuffle=False):
            for suffix, content in sorted(sample.items()):
                if not suffix.startswith("__"):
                    digest = hashlib.sha256(content).hexdigest()
                    print(name, sample["__key__"], suffix, digest, sep="\t")


if __name__ == "__main__":
    main()
