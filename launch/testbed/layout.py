"""Writes the testbed to disk: training manifests (CSV) and evaluation sets (CLIP_benchmark).

Everything is a pure function of its arguments: no times, users or hash-seeded orders, so the same
pictures give the same bytes.
"""

import csv
import hashlib
import io
import tarfile

COLUMNS = ["key", "filepath", "caption", "label", "group", "source", "keywords"]
# CLIP_benchmark replaces {c} by the class name.
TEMPLATES = ["{c}", "a {c}", "a picture of a {c}"]


def write_pictures(folder, pictures):
    """folder/SOURCE/KEY.png for each picture."""
    for picture in pictures:
        path = folder / picture.raw.source / f"{picture.raw.key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.png)


def write_manifest(path, pictures):
    """Rows for `plumbline data pack`; file paths are relative to the folder above the images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for picture in pictures:
            raw = picture.raw
            writer.writerow([raw.key, f"images/{raw.source}/{raw.key}.png", picture.caption,
                             picture.label or "", raw.group, raw.source, ", ".join(raw.keywords)])


def add_member(tar, name, data):
    info = tarfile.TarInfo(name)  # mtime, uid, gid 0
    info.size = len(data)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(data))


def write_evaluation_set(folder, pictures, classes, reference_classes):
    """One classification set of (picture, class name) pairs, test/0.tar and its text files.

    keys.txt: line i = the picture of sample i and its group, for audits and clustered intervals.
    reference_classes.txt: the index of each class in the reference set, for scoring the reference
    on the classes of a shift.
    """
    shards = folder / "test"
    shards.mkdir(parents=True)
    keys = []
    with tarfile.open(shards / "0.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (picture, name) in enumerate(pictures):
            add_member(tar, f"s{number:07d}.png", picture.png)
            add_member(tar, f"s{number:07d}.cls", str(classes.index(name)).encode())
            add_member(tar, f"s{number:07d}.txt", picture.caption.encode())
            keys.append(f"s{number:07d}\t{picture.raw.key}\t{picture.raw.group}")
    texts = {
        "test/nshards.txt": ["1"],
        "classnames.txt": classes,
        "zeroshot_classification_templates.txt": TEMPLATES,
        "dataset_type.txt": ["classification"],
        "keys.txt": keys,
        "reference_classes.txt": [str(reference_classes.index(name)) for name in classes],
    }
    for name, lines in texts.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def checksums(root):
    """{relative path: SHA-256} of all files below `root`, sorted."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files}
