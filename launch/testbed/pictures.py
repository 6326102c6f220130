"""Builds the pictures testbed: clip-art, photo cut-outs and emoji from Debian packages, 10 classes.

  pictures.py [--out data/pictures] [--cache DIR] [--plumbline build/release/plumbline]

OUT/train/SOURCE/shard_%06d.tar   image-caption pairs: clipart, stamps, emojione, noto
OUT/eval/SET/                     clipart (reference); stamps, art4apps, emojione, noto, symbola
OUT/images, OUT/manifests         the pictures and the tables the shards are packed from
OUT/manifest.json                 packages, licences, counts, SHA-256 of every file
OUT/complete                      written last; a second call then does nothing

Downloads 370 MB of packages once, installs nothing. docs/reference/testbed-pictures.md describes
the sources, the rules and the counts.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path

import PIL

import command
import layout
import packages
import pixels
import sources
import split
import wordnet
from packages import BuildError

SEED = 0
LABELS = Path(__file__).resolve().parent / "pictures-labels.txt"
TRAINING = {"clipart": ["clipart"], "stamps": ["stamps", "stamps_cartoon"],
            "emojione": ["emojione"], "noto": ["noto"]}
REFERENCE = "clipart"
SHIFTS = ["stamps", "art4apps", "emojione", "noto", "symbola"]
TESTED_WHOLE = {"art4apps"}  # nothing is trained on it
SMALLEST_CLASS = 5

LICENCES = {
    "openclipart-png": "public domain (Creative Commons dedication)",
    "openclipart-svg": "public domain (Creative Commons dedication)",
    "tuxpaint-stamps-default": "GPL-2",
    "pysiogame": "images: public domain; program: GPL-3+",
    "ruby-gemojione": "images: CC-BY-SA-4.0; program: Expat",
    "fonts-noto-color-emoji": "SIL OFL 1.1",
    "fonts-symbola": "free for any use, modification and redistribution",
    "unicode-cldr-core": "Unicode-DFS-2016",
    "wordnet-base": "WordNet 3.0 licence",
}

# Pictures and labelled pictures by class (before the audit), in the order of wordnet.CLASSES.
EXPECTED = {
    "clipart": (2378, [46, 134, 58, 52, 35, 21, 26, 73, 44, 62]),
    "stamps": (430, [31, 58, 10, 13, 17, 15, 9, 16, 10, 1]),
    "art4apps": (585, [24, 49, 11, 9, 0, 7, 5, 25, 0, 9]),
    "emojione": (1084, [12, 51, 8, 12, 4, 8, 16, 23, 6, 17]),
    "noto": (1367, [15, 62, 14, 15, 4, 9, 18, 35, 9, 18]),
    "symbola": (1146, [12, 54, 9, 13, 4, 8, 16, 28, 6, 17]),
}
TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Picture:
    raw: sources.Raw
    png: bytes
    pixel_hash: str
    outline: pixels.Outline
    caption: str
    label: str | None  # by the class rule
    test: bool = False


def decode(raw):
    """(PNG, pixel hash, outline) of a picture, or the reason why it has none. Runs in workers."""
    try:
        image = sources.open_image(raw)
    except OSError as error:
        raise BuildError(f"{raw.path}: {error}") from error
    if image is None:
        return "too large"
    image = pixels.stored(image)
    if all(low == high for low, high in image.getextrema()):
        return "blank"
    return pixels.png(image), pixels.pixel_hash(image), pixels.outline(image)


def load(raws, nouns, jobs):
    """Decodes all, drops blank and equal pictures; returns pictures and [(key, reason)] dropped."""
    pictures, dropped, seen = [], [], set()
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        for raw, result in zip(raws, pool.map(decode, raws, chunksize=8)):
            if isinstance(result, tuple) and (raw.source, result[1]) in seen:
                result = "equal to another"
            if isinstance(result, str):
                dropped.append((raw.key, result))
                continue
            seen.add((raw.source, result[1]))
            fields = [raw.caption] + ([" ".join(raw.keywords)] if raw.source == "clipart" else [])
            caption = raw.caption or ", ".join(raw.keywords)
            pictures.append(Picture(raw, *result, caption, nouns.label(fields)))
    return sorted(pictures, key=lambda picture: picture.raw.key), dropped


def count(pictures):
    """{source: (pictures, [labelled by class])}."""
    table = {}
    for source in [*EXPECTED, "stamps_cartoon"]:
        of_source = [p for p in pictures if p.raw.source == source]
        by_class = collections.Counter(p.label for p in of_source)
        table[source] = (len(of_source), [by_class[name] for name in wordnet.CLASSES])
    return table


def print_counts(title, table):
    print(f"{title}:")
    print(f"{'source':<15}{'all':>6}" + "".join(f"{n:>11}" for n in [*wordnet.CLASSES, "labelled"]))
    for source, (total, by_class) in table.items():
        if total:
            numbers = [*by_class, sum(by_class)]
            print(f"{source:<15}{total:>6}" + "".join(f"{n:>11}" for n in numbers))


def check_counts(table):
    for source, (total, by_class) in EXPECTED.items():
        cells = zip(["pictures", *wordnet.CLASSES], [total, *by_class],
                    [table[source][0], *table[source][1]])
        for name, expected, found in cells:
            if abs(found - expected) > TOLERANCE * expected:
                raise BuildError(f"count of {source}, {name}: found {found}, documented "
                                 f"{expected}; are the packages of another Debian release?")


def read_corrections(pictures, labels=LABELS):
    """{key: class or None} from the audited labels: key TAB class or "none" TAB reason."""
    known = {p.raw.key for p in pictures}
    corrections = {}
    for number, line in enumerate(labels.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        place = f"{labels.name}:{number}"
        if len(fields) != 3:
            raise BuildError(f"{place}: expected key, class and reason separated by tabs")
        key, name, _ = fields
        if name not in [*wordnet.CLASSES, "none"]:
            raise BuildError(f"{place}: unknown class '{name}'")
        if key not in known or key in corrections:
            raise BuildError(f"{place}: key '{key}' is not a picture or stands twice")
        corrections[key] = None if name == "none" else name
    return corrections


def evaluation_sets(pictures, corrections):
    """{set: ([(picture, class)], classes)}; classes below 5 pictures leave a set."""
    sets = {}
    for name in [REFERENCE, *SHIFTS]:
        members = [(p, corrections.get(p.raw.key, p.label)) for p in pictures
                   if p.raw.source == name and (p.test or name in TESTED_WHOLE)]
        sizes = collections.Counter(label for _, label in members)
        classes = [c for c in wordnet.CLASSES if sizes[c] >= SMALLEST_CLASS]
        sets[name] = ([(p, label) for p, label in members if label in classes], classes)
    return sets


def assign(pictures, corrections):
    """({name: training pictures}, {set: (pictures with class, classes)}, dropped with reason)."""
    tested_whole = {p.raw.group for p in pictures
                    if p.raw.source in TESTED_WHOLE and corrections.get(p.raw.key, p.label)}
    test = split.test_groups(pictures, tested_whole, SEED)
    pictures = [dataclasses.replace(p, test=p.raw.group in test) for p in pictures]
    evaluation = evaluation_sets(pictures, corrections)
    evaluated = [p for members, _ in evaluation.values() for p, _ in members]
    source_to_name = {source: name for name, members in TRAINING.items() for source in members}
    trained = [p for p in pictures if p.raw.source in source_to_name and not p.test and p.caption]
    redrawn = split.redrawn(trained, evaluated)
    trained = [p for p in trained if p.raw.key not in redrawn]
    split.audit_leaks(trained, evaluated)
    training = {name: [p for p in trained if source_to_name[p.raw.source] == name]
                for name in TRAINING}
    left_out = [(key, f"nearly equal to {other}") for key, other in redrawn.items()]
    return training, evaluation, left_out


def build(out, cache):
    """Everything but the training shards, into `out`, which must not exist."""
    known = packages.fetch(sources.PACKAGES, cache)
    with tempfile.TemporaryDirectory(prefix="plumbline-pictures-") as unpacked:
        roots = {n: packages.unpack(p, Path(unpacked)) for n, p in known.items()}
        nouns = wordnet.Nouns(roots["wordnet-base"] / "usr/share/wordnet")
        pictures, dropped = load(sources.read_all(roots), nouns, min(os.cpu_count() or 1, 8))
    table = count(pictures)
    print_counts("pictures and labels by the class rule", table)
    check_counts(table)

    training, evaluation, redrawn = assign(pictures, read_corrections(pictures))
    for name, members in training.items():
        layout.write_pictures(out / "images", members)
        layout.write_manifest(out / "manifests" / f"{name}.csv", members)
    for name, (members, classes) in evaluation.items():
        layout.write_evaluation_set(out / "eval" / name, members, classes, evaluation[REFERENCE][1])
    print_counts("training pairs, labels by the class rule",
                 count([p for members in training.values() for p in members]))
    print_counts("evaluation, audited labels", count([dataclasses.replace(p, label=label)
                 for members, _ in evaluation.values() for p, label in members]))
    write_summary(out, known, table, training, evaluation, dropped + redrawn)


def write_summary(out, known, table, training, evaluation, dropped):
    summary = {
        "fingerprint": fingerprint(),
        "seed": SEED,
        "packages": [{"name": p.name, "version": p.version, "bytes": p.bytes, "sha256": p.sha256,
                      "licence": LICENCES[p.name]} for p in known.values()],
        "classes": wordnet.CLASSES,
        "counts": {name: {"pictures": n, "labelled": c} for name, (n, c) in table.items()},
        "training": {name: len(members) for name, members in training.items()},
        "evaluation": {name: {"pictures": len(members), "classes": classes}
                       for name, (members, classes) in evaluation.items()},
        "dropped": [{"key": key, "reason": reason} for key, reason in sorted(dropped)],
        "files": layout.checksums(out),
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (out / "manifest.json").write_text(text, encoding="utf-8")


def fingerprint():
    """Of what decides the bytes besides the packages: these scripts, the labels, Pillow."""
    digest = hashlib.sha256(PIL.__version__.encode())
    modules = [layout, pixels, sources, split, wordnet]
    for path in [Path(__file__), *(Path(module.__file__) for module in modules), LABELS]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    command.run("pictures", build, fingerprint(), TRAINING, 500, __doc__)
