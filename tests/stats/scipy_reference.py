"""Prints what scipy says, one case a line: KIND ARGUMENTS... VALUES... (for stats_test)."""

import csv
import sys
from pathlib import Path

import numpy as np
from scipy import stats


def clopper_pearson():
    for n in [1, 2, 7, 50, 1000, 50_000, 10_000_000]:
        for k in sorted({0, 1, 2, n // 3, n // 2 + 0.25, n - 1, n}):
            if not 0 <= k <= n:
                continue
            for alpha in [0.05, 0.005, 1e-6]:
                lo = stats.beta.ppf(alpha / 2, k, n - k + 1) if k > 0 else 0.0
                hi = stats.beta.isf(alpha / 2, k + 1, n - k) if k < n else 1.0
                print("cp", repr(float(k)), n, alpha, repr(float(lo)), repr(float(hi)))


def normal():
    for p in [1e-300, 1e-20, 1e-9, 0.001, 0.024999, 0.07, 0.075, 0.3, 0.5, 0.9, 0.99, 1 - 1e-12]:
        print("normal", repr(p), repr(float(stats.norm.ppf(p))))


def mcnemar():
    for b, c in [(0, 0), (0, 1), (3, 3), (1, 9), (20, 35), (400, 500), (0, 60), (10_000, 10_300)]:
        p = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
        print("mcnemar", b, c, repr(float(p)))


def line():
    generator = np.random.default_rng(5)
    x = generator.normal(1.0, 0.4, 40)
    y = 1.1 * x - 0.5 + generator.normal(0, 0.05, 40)
    fit = stats.linregress(x, y)
    values = [fit.slope, fit.intercept, fit.rvalue**2, fit.stderr, fit.intercept_stderr]
    print("line", *map(lambda v: repr(float(v)), [*values, *x, *y]))


def baseline(folder):
    """Fits of the testbed's models that the table itself marks (column `fit`)."""
    rows = list(csv.DictReader(open(folder / "baseline_models_ext.csv")))
    transforms = {"logit": lambda p: np.log(p / (1 - p)), "probit": stats.norm.ppf,
                  "linear": lambda p: p}
    axes = {"v2": ["imagenet"], "objectnet": ["imagenet", "imagenet_objectnet_classes"],
            "sketch": ["imagenet"], "r": ["imagenet", "imagenet_r_classes"],
            "a": ["imagenet", "imagenet_a_classes"]}
    for shift, columns in axes.items():
        for column in columns:
            marked = [r for r in rows if r["fit"] == "1" and r[column] and r[shift]
                      and (shift != "a" or r["model"] != "resnet50")]
            x = np.array([float(r[column]) for r in marked])
            y = np.array([float(r[shift]) for r in marked])
            for name, h in transforms.items():
                placed = np.isfinite(h(x)) & np.isfinite(h(y))
                fit = stats.linregress(h(x[placed]), h(y[placed]))
                print("fit", shift, column, name, int(placed.sum()),
                      *map(lambda v: repr(float(v)), [fit.slope, fit.intercept, fit.rvalue**2]))


clopper_pearson()
normal()
mcnemar()
line()
if len(sys.argv) > 1:
    baseline(Path(sys.argv[1]))
