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


def student():
    for p in [1e-12, 1e-4, 0.025, 0.3, 0.499, 0.5001, 0.9, 0.975, 1 - 1e-9]:
        for freedom in [0.7, 1, 2, 3.3, 8, 31.5, 400, 1e6]:
            print("student", repr(p), freedom, repr(float(stats.t.ppf(p, freedom))))
    for t in [1e-6, 0.3, 2.0, 7.5, 20.0]:
        for freedom in [1, 2.5, 9, 1000]:
            print("tail", t, freedom, repr(float(2 * stats.t.sf(t, freedom))))


def contrast():
    """Welch's test and interval of two groups; sizes, then values."""
    generator = np.random.default_rng(11)
    for n, m, spread in [(2, 2, 1.0), (5, 5, 0.2), (3, 9, 4.0), (40, 7, 1.0)]:
        a, b = generator.normal(0.5, 0.02, n), generator.normal(0.53, 0.02 * spread, m)
        test = stats.ttest_ind(b, a, equal_var=False)
        ci = test.confidence_interval(0.95)
        print("contrast", n, m, *map(lambda v: repr(float(v)),
                                     [test.pvalue, ci.low, ci.high, *a, *b]))


def resampled():
    """Paired bootstrap of a difference in accuracy, also by cluster: percentiles of scipy's."""
    generator = np.random.default_rng(3)
    for clusters in [0, 40]:
        n = 1200
        first, second = generator.random(n) < 0.60, generator.random(n) < 0.66
        label = np.arange(n) if clusters == 0 else generator.integers(0, clusters, n)
        if clusters:  # right or wrong together
            luck = generator.random(clusters)
            second = np.where(luck[label] < 0.4, luck[label] < 0.25, second)
        gain = second.astype(float) - first
        groups = [gain[label == c] for c in np.unique(label)]
        sums, sizes = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
        result = stats.bootstrap(
            (sums, sizes), lambda s, k, axis: s.sum(axis=axis) / k.sum(axis=axis), paired=True,
            vectorized=True, method="percentile", n_resamples=20_000, rng=generator)
        interval = result.confidence_interval
        print("resampled", clusters, repr(float(interval.low)), repr(float(interval.high)),
              *map(int, first), *map(int, second), *map(int, label))


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
student()
contrast()
resampled()
if len(sys.argv) > 1:
    baseline(Path(sys.argv[1]))
