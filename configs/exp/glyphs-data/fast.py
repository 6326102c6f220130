"""The study's baseline in a minute: ridge classifiers on random features in the place of networks.

  fast.py [--data data/glyphs] [--out runs/glyphs-fast] [--plumbline build/release/plumbline]

30 models: 300, 600, 1,200, 2,400 and all glyphs of sans, 256, 512 and 1,024 random features, two
seeds. Each is solved in closed form and writes the files that `plumbline evaluate` writes, kind
supervised; `plumbline report` makes the line from them. It exercises the path from predictions to
the page; about networks it says nothing.
"""

import argparse
import csv
import io
import json
import subprocess
import tarfile
from pathlib import Path

import numpy
from PIL import Image

SETS = ["sans", "serif", "mono", "hand", "decorative", "digits"]
SIZES = [300, 600, 1200, 2400, 0]  # 0: all
WIDTHS = [256, 512, 1024]
SEEDS = [0, 1]
CLASSES = 62
RIDGE = 1e-3


def pixels(data):
    """Ink of a glyph as a row, paper 0."""
    return 1 - numpy.asarray(Image.open(data), numpy.float32).ravel() / 255


def read_training(data):
    """Rows and labels of the reference source."""
    with open(data / "manifests" / "sans.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return (numpy.stack([pixels(data / row["filepath"]) for row in rows]),
            numpy.array([int(row["label"]) for row in rows]))


def read_set(folder):
    """Keys, rows, labels (places in the set's own list) of the test split, and the list's names."""
    keys, rows, labels = [], [], []
    with tarfile.open(folder / "test" / "0.tar") as tar:
        for member in tar:
            key, _, kind = member.name.rpartition(".")
            content = tar.extractfile(member).read()
            if kind == "png":
                keys.append(key)
                rows.append(pixels(io.BytesIO(content)))
            elif kind == "cls":
                labels.append(int(content))
    names = (folder / "classnames.txt").read_text().splitlines()
    return keys, numpy.stack(rows), numpy.array(labels), names


def features(rows, width, seed):
    """ReLU of random projections (Rahimi and Recht 2007), and a constant."""
    rng = numpy.random.default_rng(seed)
    weights = rng.normal(0, 1 / 8, (rows.shape[1], width)).astype(numpy.float32)
    bias = rng.normal(0, 0.5, width).astype(numpy.float32)
    hidden = numpy.maximum((rows - 0.3) @ weights + bias, 0)
    return numpy.concatenate([hidden, numpy.ones((len(rows), 1), numpy.float32)], 1)


def solve(rows, labels):
    """W that minimises |rows W - one_hot|^2 + RIDGE n |W|^2."""
    wanted = numpy.eye(CLASSES, dtype=numpy.float32)[labels]
    gram = rows.T @ rows + RIDGE * len(rows) * numpy.eye(rows.shape[1], dtype=numpy.float32)
    return numpy.linalg.solve(gram, rows.T @ wanted)


def score(name, test, labels_of_set, weights, hidden):
    """The set's entry of results.json and the rows of its prediction file."""
    keys, _, targets, names = test
    scores = hidden @ weights[:, labels_of_set]
    guesses = numpy.argsort(-scores, axis=1, kind="stable")[:, :5]
    right = guesses[:, 0] == targets
    classes = len(labels_of_set)
    class_n = numpy.bincount(targets, minlength=classes)
    correct = numpy.bincount(targets[right], minlength=classes)
    entry = {"name": name, "kind": "classification", "layout": "webdataset",
             "role": "reference" if name == "sans" else "shift",
             "reference": None if name == "sans" else "sans", "n": len(keys), "classes": classes,
             "top1": float(right.mean()), "top5": float((guesses == targets[:, None]).any(1).mean()),
             "mean_per_class": float((correct / class_n)[class_n > 0].mean()), "skipped": 0,
             "class_names": names, "class_n": class_n.tolist(),
             "class_correct": correct.tolist()}
    return entry, [[key, target, *guess] for key, target, guess in zip(keys, targets, guesses)]


def write_model(folder, name, sets):
    (folder / "predictions").mkdir(parents=True)
    for entry, rows in sets:
        with open(folder / "predictions" / f"{entry['name']}.csv", "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["key", "target", *(f"pred{k}" for k in range(1, 6))])
            writer.writerows(rows)
    results = {"checkpoint": None, "step": None, "samples": None, "model": name,
               "kind": "supervised", "ema": None, "merge": None, "sets": [entry for entry, _ in sets]}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def study(data, out, program):
    """All models into out/NAME, the report into out/report."""
    rows, labels = read_training(data)
    tests = {name: read_set(data / "eval" / name) for name in SETS}
    of_set = {name: [int(line) for line in
                     (data / "eval" / name / "reference_classes.txt").read_text().split()]
              for name in SETS}
    folders = []
    for seed in SEEDS:
        order = numpy.random.default_rng(seed).permutation(len(rows))
        for width in WIDTHS:
            train = features(rows, width, seed)
            hidden = {name: features(test[1], width, seed) for name, test in tests.items()}
            for size in SIZES:
                chosen = order[:size or len(rows)]  # sizes nest
                weights = solve(train[chosen], labels[chosen])
                name = f"ridge-{size or 'all'}-{width}-s{seed}"
                write_model(out / name, name, [score(s, tests[s], of_set[s], weights, hidden[s])
                                               for s in SETS])
                folders.append(str(out / name))
    subprocess.run([str(program), "report", *folders, "--out", str(out / "report")], check=True,
                   capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--out", type=Path, default=Path("runs/glyphs-fast"))
    parser.add_argument("--plumbline", type=Path, default=Path("build/release/plumbline"))
    options = parser.parse_args()
    study(options.data, options.out, options.plumbline)
    for fit in json.loads((options.out / "report" / "fits.json").read_text())["fits"]:
        if (fit["baseline"], fit["transform"], fit["metric"]) == ("supervised", "logit", "top1"):
            print(f"{fit['y']:<12} {fit['n']} models  slope {fit['slope']:+.2f}  R2 {fit['r2']:.2f}")
    print(f"report: {options.out}/report/index.html")


if __name__ == "__main__":
    main()
