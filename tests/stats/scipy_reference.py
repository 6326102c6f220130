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


TRANSFORMS = {"logit": (lambda p: np.log(p / (1 - p)), lambda z: 1 / (1 + np.exp(-z))),
              "probit": (stats.norm.ppf, stats.norm.cdf), "linear": (lambda p: p, lambda z: z)}
AXES = {"v2": ["imagenet"], "objectnet": ["imagenet", "imagenet_objectnet_classes"],
        "sketch": ["imagenet"], "r": ["imagenet", "imagenet_r_classes"],
        "a": ["imagenet", "imagenet_a_classes"]}
KNEES = {"imagenet": 0.7613, "imagenet_a_classes": 0.9186}


def in_baseline(row, name):
    """The standard models as the table itself marks them (column `fit`); the extended ones by rule."""
    if name == "standard":
        return row["fit"] == "1"
    model = row["model"].lower()
    if row["type"] == "STANDARD":
        return not any(word in model for word in ("aws", "batch64", "subsample"))
    return row["type"] == "LOW_ACCURACY_CNN" and "_classes_batch64" not in model


def points_of(rows, column, shift, h):
    """Transformed accuracies of the rows that have both, and a place on the axes."""
    both = [(float(r[column]), float(r[shift])) for r in rows if r[column] and r[shift]
            and (shift != "a" or r["model"] != "resnet50")]
    x, y = np.array(both).T
    placed = np.isfinite(h(x)) & np.isfinite(h(y))
    return x[placed], y[placed]


def numbers(values):
    return [repr(float(v)) for v in values]


def baseline(folder):
    """Every line of the published table: both baselines, all transforms, ImageNet-A in pieces."""
    rows = list(csv.DictReader(open(folder / "baseline_models_ext.csv")))
    clip = list(csv.DictReader(open(folder / "clip_models.csv")))
    for name in ("standard", "extended"):
        chosen = [r for r in rows if in_baseline(r, name)]
        for shift, columns in AXES.items():
            for column in columns:
                for transform, (h, inverse) in TRANSFORMS.items():
                    x, y = points_of(chosen, column, shift, h)
                    pieces = {"all": x >= 0}
                    if shift == "a":
                        pieces |= {"below": x < KNEES[column], "above": x > KNEES[column]}
                    for piece, inside in pieces.items():
                        fit = stats.linregress(h(x[inside]), h(y[inside]))
                        print("fit", name, shift, column, transform, piece, int(inside.sum()),
                              *numbers([fit.slope, fit.intercept, fit.rvalue**2, fit.stderr]))
                        if piece == "all" and column == "imagenet":
                            u, v = points_of(clip, column, shift, h)
                            expected = fit.slope * h(u) + fit.intercept
                            print("clip", name, shift, transform, len(u),
                                  *numbers([np.mean(v - inverse(expected)),
                                            np.mean(h(v) - expected)]))


def band(folder):
    """Percentiles of many bootstrap lines; 20,000 resamples leave noise of 1 % of the width."""
    rows = list(csv.DictReader(open(folder / "baseline_models_ext.csv")))
    generator = np.random.default_rng(17)
    for shift, transform in [("v2", "logit"), ("r", "probit"), ("objectnet", "linear")]:
        h = TRANSFORMS[transform][0]
        x, y = (h(v) for v in points_of([r for r in rows if r["fit"] == "1"], "imagenet", shift, h))
        drawn = generator.integers(0, len(x), (20_000, len(x)))
        u, v = x[drawn], y[drawn]
        mean_u, mean_v = u.mean(1, keepdims=True), v.mean(1, keepdims=True)
        slope = ((u - mean_u) * (v - mean_v)).sum(1) / ((u - mean_u) ** 2).sum(1)
        intercept = mean_v[:, 0] - slope * mean_u[:, 0]
        at = h(np.array([0.6, 0.75, 0.9]))
        lines = [slope, intercept, *(slope * z + intercept for z in at)]
        print("band", shift, transform, *numbers(at),
              *numbers(q for values in lines for q in np.quantile(values, [0.025, 0.975])))


clopper_pearson()
normal()
mcnemar()
line()
student()
contrast()
resampled()
if len(sys.argv) > 1:
    baseline(Path(sys.argv[1]))
    band(Path(sys.argv[1]))
