"""The metrics of results.json once more, from predictions/ and retrieval/ alone.

  recompute_metrics.py FOLDER

By definitions written out here, and by scikit-learn.
"""

import csv
import json
import sys
from pathlib import Path

from sklearn.metrics import balanced_accuracy_score, f1_score


def classification(rows, classes):
    """top1, top5, mean_per_class and macro_f1 of a table of predictions."""
    targets = [int(row["target"]) for row in rows]
    guesses = [[int(v) for k, v in row.items() if k.startswith("pred")] for row in rows]
    n = len(rows)
    right = [t == g[0] for t, g in zip(targets, guesses)]
    recalls, scores = [], []
    for c in sorted(set(targets)):
        true = sum(r for r, t in zip(right, targets) if t == c)
        wanted = targets.count(c)
        predicted = sum(g[0] == c for g in guesses)
        recall, precision = true / wanted, true / predicted if predicted else 0
        recalls.append(recall)
        scores.append(2 * recall * precision / (recall + precision) if true else 0)
    metrics = {"top1": sum(right) / n,
               "top5": sum(t in g for t, g in zip(targets, guesses)) / n if classes >= 5 else None,
               "mean_per_class": sum(recalls) / len(recalls),
               "macro_f1": sum(scores) / len(scores)}
    first = [g[0] for g in guesses]
    assert abs(metrics["mean_per_class"] - balanced_accuracy_score(targets, first)) < 1e-12
    theirs = f1_score(targets, first, labels=sorted(set(targets)), average="macro", zero_division=0)
    assert abs(metrics["macro_f1"] - theirs) < 1e-12
    return metrics


def retrieval(rows):
    """Recalls of a table of places."""
    metrics = {}
    places = {q: [int(r["place"]) for r in rows if r["query"] == q] for q in ("text", "image")}
    for name, query, candidates in (("image", "text", "image"), ("text", "image", "text")):
        for k in (1, 5, 10):
            found = places[query]
            metrics[f"{name}_recall@{k}"] = (sum(p < k for p in found) / len(found)
                                             if len(places[candidates]) >= k else None)
    return metrics


def main():
    folder = Path(sys.argv[1])
    wrong = 0
    results = json.loads((folder / "results.json").read_text())
    for entry in results["sets"]:
        kind = "retrieval" if entry["kind"] == "retrieval" else "predictions"
        with (folder / kind / f"{entry['name']}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        metrics = retrieval(rows) if kind == "retrieval" else classification(rows, entry["classes"])
        for key, value in metrics.items():
            given = entry[key]
            same = given is value if value is None or given is None else abs(given - value) < 1e-12
            if not same:
                print(f"{entry['name']}: {key} is {given}, recomputed {value}")
                wrong += 1
    print(f"{len(results['sets'])} sets")
    return 1 if wrong or not results["sets"] else 0


if __name__ == "__main__":
    sys.exit(main())
