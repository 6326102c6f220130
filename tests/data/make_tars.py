"""Writes one tar for each format Python's tarfile knows, with short and long names, to FOLDER."""

import io
import sys
import tarfile

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}


def names(kind):
    yield "short.txt"
    yield "d" * 90 + "/" + "n" * 90 + ".txt"  # ustar: name and prefix
    if kind != "ustar":
        yield "x/" * 150 + "k" * 120 + ".txt"
        yield "ü" * 80 + ".txt"


def write(path, kind, mode):
    with tarfile.open(path, mode, format=FORMATS[kind]) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 150 if kind != "ustar" else "t"
        tar.addfile(link)
        for i, name in enumerate(names(kind)):
            data = bytes([65 + i]) * (500 + 7 * i)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if kind == "pax":
                info.mtime = 1.5  # a pax header of its own
            tar.addfile(info, io.BytesIO(data))


def main():
    for kind in FORMATS:
        write(f"{sys.argv[1]}/{kind}.tar", kind, "w")
    write(f"{sys.argv[1]}/gnu.tar.gz", "gnu", "w:gz")


if __name__ == "__main__":
    main()
