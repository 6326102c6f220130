"""The metrics of sklearn_test.cpp once more, by scikit-learn: sklearn_metrics.py CASES.json

A case has the logits of each image, and what the program made of them. Prints what differs.
"""

import json
import sys
import warnings

import numpy as np
from sklearn import metrics

# Absent classes and classes that are only predicted are what these cases are about.
warnings.filterwarnings("ignore", module="sklearn")


def classification(case):
    """Metrics from logits [n, columns] alone. Column c of several may stand for one class."""
    logits = np.array(case["logits"], np.float32).reshape(len(case["targets"]), -1)
    targets = np.array(case["targets"])
    classes = case["classes"]
    if case["class_of_column"]:
        columns = np.array(case["class_of_column"])
        logits = np.stack([logits[:, columns == c].max(1) for c in range(classes)], 1)
    kept = np.array(case["decoded"], bool)
    logits, targets = logits[kept], targets[kept]
    if len(targets) == 0:
        return {key: None for key in ("top1", "top5", "mean_per_class", "macro_f1")}
    first = np.argsort(-logits, axis=1, kind="stable")[:, 0]
    present = np.unique(targets)  # as WILDS: labels=torch.unique(y_true)
    found = {
        "top1": metrics.accuracy_score(targets, first),
        "top5": None,
        # Of a single class balanced_accuracy_score is its recall as well.
        "mean_per_class": metrics.balanced_accuracy_score(targets, first),
        "macro_f1": metrics.f1_score(targets, first, labels=present, average="macro",
                                     zero_division=0),
    }
    recall = metrics.recall_score(targets, first, labels=present, average="macro", zero_division=0)
    assert abs(recall - found["mean_per_class"]) < 1e-12
    if classes >= 5:
        # Of equal scores scikit-learn takes the later column, so it is given them mirrored.
        found["top5"] = metrics.top_k_accuracy_score(
            classes - 1 - targets, logits[:, ::-1], k=5, labels=range(classes))
    confusion = metrics.confusion_matrix(targets, first, labels=range(classes))
    found["class_n"] = confusion.sum(1).tolist()
    found["class_correct"] = confusion.diagonal().tolist()
    for group in case["groups"]:
        of = np.array(group["group_of"])[kept]
        accuracies = [metrics.accuracy_score(targets[of == g], first[of == g])
                      for g, name in enumerate(group["names"])
                      if (of == g).any() and name != group["left_out"]]
        found["worst_" + group["name"]] = min(accuracies, default=None)
    return found


def retrieval(case):
    """Recall at k of texts for images and back, from the scores [texts, images] alone."""
    scores = np.array(case["scores"], np.float32).reshape(len(case["image_of_text"]), -1)
    owner = np.array(case["image_of_text"])
    texts, images = scores.shape
    found = {}
    for k in (1, 5, 10):
        # Each text has one right image: accuracy within the first k of as many classes as images.
        found[f"image_recall@{k}"] = None if images < k else float(metrics.top_k_accuracy_score(
            images - 1 - owner, scores[:, ::-1], k=k, labels=range(images)))
        order = np.argsort(-scores.T, axis=1, kind="stable")[:, :k]
        found[f"text_recall@{k}"] = None if texts < k else float(
            np.mean([np.isin(owner[order[i]], i).any() for i in range(images)]))
    return found


def multilabel(case):
    """Average precision of every class with positives; CLIP_benchmark counts 0 for one without."""
    labels = np.array(case["labels"])
    scores = np.array(case["scores"], np.float32).reshape(labels.shape)
    precision = [float(metrics.average_precision_score(labels[:, c], scores[:, c]))
                 if labels[:, c].any() else 0.0 for c in range(labels.shape[1])]
    return {"mean": float(np.mean(precision)), "average_precision": precision,
            "positives": labels.sum(0).tolist()}


def same(given, expected):
    if given is None or expected is None:
        return given is expected
    if isinstance(expected, list):
        return len(given) == len(expected) and all(map(same, given, expected))
    return abs(given - expected) < 1e-12


KINDS = {"classification": classification, "retrieval": retrieval, "multilabel": multilabel}


def main():
    cases = json.load(open(sys.argv[1]))
    wrong, compared = 0, 0
    for case in cases:
        expected = KINDS[case["kind"]](case)
        for key, value in expected.items():
            compared += 1
            given = case["results"][key]
            if not same(given, value):
                print(f"{case['name']}: {key} is {given}, scikit-learn says {value}")
                wrong += 1
    print(f"{len(cases)} cases, {compared} numbers, {wrong} differ")
    return 0 if compared and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
