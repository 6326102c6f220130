"""Writes a run folder with plausible numbers, and small pictures, for the tests of the report.

  make_run.py OUT [--seed N] [--steps N] [--every N] [--gain X] [--world N]

OUT/ gets config.yaml, environment.json, metrics.jsonl, events.jsonl, evaluation/step-*/; the sets'
pictures stand in OUT/pictures/SET/KEY. Same arguments, same bytes. Standard library only.
"""

import argparse
import json
import math
import random
import struct
import zlib
from pathlib import Path

CLASSES = ["bird", "mammal", "insect", "fruit", "flower", "tree", "car", "clothing", "instrument",
           "building"]
# name, reference, images of each class, accuracy at the end
SETS = [
    ("clipart", None, [23, 67, 29, 26, 17, 10, 13, 36, 22, 31], 0.56),
    ("stamps", "clipart", [31, 58, 10, 13, 17, 15, 9, 16, 10, 0], 0.33),
    ("art4apps", "clipart", [24, 49, 11, 9, 0, 7, 5, 25, 0, 9], 0.30),
    ("emojione", "clipart", [6, 25, 4, 6, 2, 4, 8, 11, 3, 8], 0.47),
    ("noto", "clipart", [7, 31, 7, 7, 2, 4, 9, 17, 4, 9], 0.44),
    ("symbola", "clipart", [12, 54, 9, 13, 4, 8, 16, 28, 6, 17], 0.18),
]
SIZE = 48


def png(pixel):
    """A SIZE x SIZE RGB PNG of pixel(x, y)."""
    rows = b"".join(b"\0" + bytes(v for x in range(SIZE) for v in pixel(x, y)) for y in range(SIZE))

    def chunk(kind, body):
        return (struct.pack(">I", len(body)) + kind + body +
                struct.pack(">I", zlib.crc32(kind + body)))

    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) +
            chunk(b"IEND", b""))


def picture(target, rng):
    """A disc or a box in the class's colour."""
    angle = 2 * math.pi * target / len(CLASSES)
    colour = [int(128 + 110 * math.cos(angle + k * 2.1)) for k in range(3)]
    cx, cy, r = rng.uniform(18, 30), rng.uniform(18, 30), rng.uniform(9, 16)

    def pixel(x, y):
        dx, dy = abs(x - cx), abs(y - cy)
        inside = max(dx, dy) < r if target % 2 else dx * dx + dy * dy < r * r
        return colour if inside else (250, 250, 246)

    return png(pixel)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def metrics(args, rng):
    warmup = args.steps // 20
    for step in sorted({1, *range(10, args.steps + 1, 10)}):
        t = step / args.steps
        lr = 1e-3 * (step / warmup if step <= warmup else
                     0.5 * (1 + math.cos(math.pi * (step - warmup) / (args.steps - warmup))))
        yield {"step": step, "samples": 128 * step, "epoch": 128 * step / 2800,
               "loss": 1.1 + 3.75 * math.exp(-4.5 * t) + rng.gauss(0, 0.06),
               "logit_scale": 14.3 + 9 * t * t, "lr": lr, "grad_norm": 2 + rng.random(),
               "samples_per_s": 410 + rng.gauss(0, 14) - (90 if rng.random() < 0.04 else 0),
               "step_ms": 312.0, "data_wait_frac": 0.02, "comm_wait_frac": 0.05, "mfu": None,
               "rss_mb": 1400.0, "gpu_mb": None, "bad_samples": 0, "skipped_steps": 0}


def predict(target, right, present, rng):
    """Five classes, best first."""
    others = [c for c in present if c != target]
    rng.shuffle(others)
    if right:
        return [target] + others[:4]
    place = rng.choice([1, 1, 2, 2, 3, 4, 5, 6])
    ranked = others[:5]
    if place < 5:
        ranked.insert(place, target)
    return ranked[:5]


def evaluate(folder, args, step, skill):
    """predictions/*.csv and results.json of one checkpoint."""
    (folder / "predictions").mkdir(parents=True)
    sets = []
    for index, (name, reference, sizes, end) in enumerate(SETS):
        rng = random.Random(f"{args.seed} {name}")  # the same images at every step
        accuracy = 0.1 + (min(0.97, end * args.gain) - 0.1) * skill
        rows, class_n, class_correct = [], [0] * len(CLASSES), [0] * len(CLASSES)
        for target, n in enumerate(sizes):
            ease = rng.uniform(-0.18, 0.18) * skill
            for i in range(n):
                right = rng.random() < accuracy + ease
                ranked = predict(target, right, range(len(CLASSES)), rng)
                class_n[target] += 1
                class_correct[target] += right
                rows.append((f"s{len(rows):07d}", target, ranked))
        lines = ["key,target,pred1,pred2,pred3,pred4,pred5"]
        lines += [",".join(map(str, [key, target, *ranked])) for key, target, ranked in rows]
        (folder / "predictions" / f"{name}.csv").write_text("\n".join(lines) + "\n")
        n = len(rows)
        recalls = [c / k for c, k in zip(class_correct, class_n) if k]
        sets.append({
            "name": name, "kind": "classification", "layout": "webdataset",
            "role": "shift" if reference else "reference", "reference": reference, "n": n,
            "classes": len(CLASSES), "top1": sum(class_correct) / n,
            "top5": sum(t in ranked for _, t, ranked in rows) / n,
            "mean_per_class": sum(recalls) / len(recalls), "ci95": None,
            "mean_per_class_ci95": None, "seconds": 1.5, "images_per_s": n / 1.5,
            "skipped": 1 if index == 2 else 0, "path": str(Path(args.out) / "pictures" / name),
            "templates": "own", "class_list": None, "split": "test", "class_names": CLASSES,
            "class_n": class_n, "class_correct": class_correct})
    results = {"checkpoint": f"{args.out}/checkpoints/step-{step:08d}", "step": step,
               "samples": 128 * step, "model": "pictures-rn24", "sets": sets}
    (folder / "results.json").write_text(json.dumps(results, indent=1))


def write_pictures(args, root):
    rng = random.Random(0)
    drawn = [[picture(target, rng) for _ in range(3)] for target in range(len(CLASSES))]
    for name, _, sizes, _ in SETS:
        (root / name).mkdir(parents=True)
        targets = [target for target, n in enumerate(sizes) for _ in range(n)]
        for key, target in enumerate(targets):
            (root / name / f"s{key:07d}").write_bytes(drawn[target][key % 3])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=880)
    parser.add_argument("--every", type=int, default=110)
    parser.add_argument("--gain", type=float, default=1.0)
    parser.add_argument("--world", type=int, default=2)
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True)
    rng = random.Random(args.seed)
    (out / "config.yaml").write_text(
        f"run: {{name: {out.name}, seed: {args.seed}}}\nmodel: {{name: pictures-rn24}}\n"
        "train: {global_batch: 128, epochs: 40, precision: fp32}\n")
    (out / "environment.json").write_text(json.dumps({
        "plumbline": "0.1.0", "commit": "0123456789ab", "world": args.world,
        "command": ["plumbline", "train", "configs/run/pictures.yaml"], "time": 1764064800.0}))
    write_lines(out / "metrics.jsonl", metrics(args, rng))
    write_lines(out / "events.jsonl", [
        {"event": "start", "time": 1764064800.0, "step": 0, "world": args.world,
         "total_steps": args.steps},
        {"event": "end", "time": 1764066000.0, "step": args.steps, "seconds": 1200.0}])
    for step in range(args.every, args.steps + 1, args.every):
        skill = 1 - math.exp(-3.2 * step / args.steps)
        evaluate(out / "evaluation" / f"step-{step:08d}", args, step, skill)
    write_pictures(args, out / "pictures")


if __name__ == "__main__":
    main()
