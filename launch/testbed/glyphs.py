"""Builds the glyphs testbed: letters and digits of fonts from Debian packages, 62 classes.

  glyphs.py [--out data/glyphs] [--cache DIR] [--plumbline build/release/plumbline]
            [--frame bbox|em]     em keeps relative sizes; give it an --out of its own

OUT/train/SOURCE/shard_%06d.tar   glyphs with caption and label: sans, serif, mono, hand, decorative
OUT/eval/SET/{validation,test}/   the same sources (sans is the reference); digits: test only
OUT/classnames.txt                line i = name of class i
OUT/images, OUT/manifests         the pictures and the tables the shards are packed from
OUT/manifest.json                 packages, licences, counts, SHA-256 of every file
OUT/complete                      written last; a second call then does nothing

Downloads 61 MB of packages once, installs nothing. docs/reference/testbed-glyphs.md describes the
sources, the rules and the counts.
"""

import collections
import concurrent.futures
import csv
import gzip
import hashlib
import json
import os
import tarfile
import tempfile
from pathlib import Path

import PIL.features

import command
import faces
import glyph_pixels
import glyph_split
import layout
import packages
from packages import BuildError

SEED = 0
REFERENCE = "sans"
FRAMES = ["bbox", "em"]
SOURCES = list(faces.PACKAGES)
DIGITS = "python3-sklearn"
CLASSES = ([f"capital letter {c}" for c in faces.CHARACTERS[:26]]
           + [f"small letter {c}" for c in faces.CHARACTERS[26:52]]
           + [f"digit {c}" for c in faces.CHARACTERS[52:]])

# Of each source: families before merging, faces, glyphs before any are dropped.
EXPECTED = {
    "sans": (47, 170, 10540),
    "serif": (43, 142, 8804),
    "mono": (26, 84, 5208),
    "hand": (26, 37, 2294),
    "decorative": (454, 463, 28706),
    "digits": (0, 0, 1797),
}
TOLERANCE = 0.02


def render_face(task):
    """Glyphs of one face. Runs in workers."""
    number, face, frame = task
    try:
        images = glyph_pixels.render(face.path, frame)
    except OSError as error:
        raise BuildError(f"{face.path.name}: {error}") from error
    glyphs = []
    for label, image in enumerate(images):
        if image is None:
            continue  # blank
        glyphs.append(glyph_split.Glyph(
            key=f"{face.source}-{number:04d}-{label:02d}", source=face.source, label=label,
            family=face.family, caption=f"{CLASSES[label]} in {face.name}",
            png=glyph_pixels.png(image), pixels=glyph_pixels.pixel_hash(image)))
    return glyph_split.drop_equal_small_letters(glyphs)


def render_all(chosen, jobs, frame):
    ordered = sorted(chosen, key=lambda f: (f.source, f.family, f.name, f.path.name))
    tasks = [(number, face, frame) for number, face in enumerate(ordered)]
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        return [glyph for part in pool.map(render_face, tasks, chunksize=4) for glyph in part]


def read_digits(folder):
    """Handwritten digits as glyphs of no family, tested whole."""
    path, = folder.rglob("digits.csv.gz")
    digits = []
    with gzip.open(path, "rt") as file:
        for number, row in enumerate(csv.reader(file)):
            values = [int(float(cell)) for cell in row]
            image = glyph_pixels.pen_digit(values[:64])
            digits.append(glyph_split.Glyph(
                key=f"digits-{number:04d}", source="digits", label=52 + values[64],
                family=f"digit {number}", caption=f"digit {values[64]} written by hand",
                png=glyph_pixels.png(image), pixels=glyph_pixels.pixel_hash(image), split="test"))
    return digits


def count(chosen, digits):
    families = collections.defaultdict(set)
    for face in chosen:
        families[face.source].add(face.family)
    table = {}
    for source in SOURCES:
        number = sum(face.source == source for face in chosen)
        table[source] = (len(families[source]), number, number * len(faces.CHARACTERS))
    table["digits"] = (0, 0, len(digits))
    return table


def check_counts(table):
    for source, cells in EXPECTED.items():
        for name, expected, found in zip(["families", "faces", "glyphs"], cells, table[source]):
            if abs(found - expected) > TOLERANCE * expected:
                raise BuildError(f"count of {source}, {name}: found {found}, documented "
                                 f"{expected}; are the packages of another Debian release?")


def print_table(title, table):
    print(f"{title}:")
    for source, cells in table.items():
        print(f"  {source:<12}" + "".join(f"{cell:>8}" for cell in cells))


def write_training(out, glyphs):
    for source in SOURCES:
        members = [g for g in glyphs if g.source == source and g.split == "train"]
        folder = out / "images" / source
        folder.mkdir(parents=True)
        for glyph in members:
            (folder / f"{glyph.key}.png").write_bytes(glyph.png)
        table = out / "manifests" / f"{source}.csv"
        table.parent.mkdir(exist_ok=True)
        with open(table, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["key", "filepath", "caption", "label", "group", "source"])
            for g in members:
                writer.writerow([g.key, f"images/{source}/{g.key}.png", g.caption, g.label,
                                 g.group, source])


def write_evaluation(out, glyphs):
    """eval/SET in the layout of CLIP_benchmark; keys-SPLIT.txt: sample, key, group."""
    for source in [*SOURCES, "digits"]:
        folder = out / "eval" / source
        classes = sorted({g.label for g in glyphs if g.source == source and g.split == "test"})
        for split in ("validation", "test"):
            members = [g for g in glyphs if g.source == source and g.split == split]
            if not members:
                continue
            (folder / split).mkdir(parents=True)
            with tarfile.open(folder / split / "0.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                for number, glyph in enumerate(members):
                    name = f"s{number:07d}"
                    layout.add_member(tar, name + ".png", glyph.png)
                    layout.add_member(tar, name + ".cls", str(classes.index(glyph.label)).encode())
                    layout.add_member(tar, name + ".txt", glyph.caption.encode())
            write_lines(folder / split / "nshards.txt", ["1"])
            write_lines(folder / f"keys-{split}.txt",
                        [f"s{i:07d}\t{g.key}\t{g.group}" for i, g in enumerate(members)])
        write_lines(folder / "classnames.txt", [CLASSES[label] for label in classes])
        write_lines(folder / "zeroshot_classification_templates.txt", layout.TEMPLATES)
        write_lines(folder / "dataset_type.txt", ["classification"])
        write_lines(folder / "reference_classes.txt", [str(label) for label in classes])
    write_lines(out / "classnames.txt", CLASSES)


def write_lines(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def licence_of(folder):
    """First lines of the package's copyright file that name a licence."""
    lines = []
    for path in sorted((folder / "usr/share/doc").glob("*/copyright")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("License:") and line[8:].strip() not in lines:
                lines.append(line[8:].strip())
    return "; ".join(lines) or "see the package's copyright file"


def build(out, cache, frame=FRAMES[0]):
    """Everything but the training shards, into `out`, which must not exist."""
    names = [name for part in faces.PACKAGES.values() for name in part] + [DIGITS]
    known = packages.fetch(names, cache)
    with tempfile.TemporaryDirectory(prefix="plumbline-glyphs-") as unpacked:
        roots = {name: packages.unpack(p, Path(unpacked)) for name, p in known.items()}
        licences = {name: licence_of(root) for name, root in roots.items()}
        chosen = faces.read_all(roots, SEED)
        digits = read_digits(roots[DIGITS])
        table = count(chosen, digits)
        print_table("families, faces, glyphs", table)
        check_counts(table)
        glyphs = render_all(chosen, min(os.cpu_count() or 1, 8), frame) + digits
    glyphs, dropped = glyph_split.assign(glyphs, SEED)
    glyph_split.audit_leaks(glyphs)
    sizes = {source: tuple(sum(g.source == source and g.split == split for g in glyphs)
                           for split in glyph_split.SPLITS) for source in table}
    groups = {source: tuple(len({g.group for g in glyphs if g.source == source
                                 and g.split == split}) for split in glyph_split.SPLITS)
              for source in table}
    print_table("glyphs for training, validation, test", sizes)
    print_table("groups of families for training, validation, test", groups)
    print(f"dropped for equal pixels in another split: {dropped}")
    out.mkdir(parents=True)
    write_training(out, glyphs)
    write_evaluation(out, glyphs)
    summary = {
        "fingerprint": fingerprint(frame),
        "seed": SEED,
        "frame": frame,
        "packages": [{"name": p.name, "version": p.version, "bytes": p.bytes, "sha256": p.sha256,
                      "licence": licences[p.name]} for p in known.values()],
        "counts": {s: dict(zip(("families", "faces", "glyphs"), c)) for s, c in table.items()},
        "glyphs": {s: dict(zip(glyph_split.SPLITS, c)) for s, c in sizes.items()},
        "groups": {s: dict(zip(glyph_split.SPLITS, c)) for s, c in groups.items()},
        "dropped_equal_across_splits": dropped,
        "files": layout.checksums(out),
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (out / "manifest.json").write_text(text, encoding="utf-8")


def fingerprint(frame=FRAMES[0]):
    """Of what decides the bytes besides the packages: frame, scripts, Pillow and its FreeType."""
    versions = frame + PIL.__version__ + str(PIL.features.version("freetype2"))
    digest = hashlib.sha256(versions.encode())
    for module in (__file__, faces.__file__, glyph_pixels.__file__, glyph_split.__file__,
                   layout.__file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    command.run("glyphs", build, fingerprint, SOURCES, 1000, __doc__, FRAMES)
