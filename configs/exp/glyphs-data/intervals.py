"""Fitted lines, effective robustness and residuals of the study's arms with clustered intervals.

Glyphs of a font family are alike, so families are resampled, not glyphs: each of 1,000 replicates
draws families of the reference and of the shift (the same for all models) and baseline models,
fits the line anew (logit, least squares) and measures every arm against it.
"""

import csv

import numpy

REPLICATES = 1000
SEED = 720257663
MARGIN = 0.10  # of a residual: below it a difference does not matter


def logit(p):
    return numpy.log(p / (1 - p))


def fold_case(label):
    """Of the 62 classes A-Z a-z 0-9: small letters as their capitals, 36 classes."""
    return label - 26 if 26 <= label < 52 else label


def by_group(results_json, data, name, split="test", folded=False):
    """(correct, n) of each group of the set, groups in sorted order.

    folded  a letter of the other case is right: the frame of a glyph has lost its size
    """
    labels = [int(line) for line in
              (data / "eval" / name / "reference_classes.txt").read_text().split()]
    of_class = [fold_case(label) if folded else label for label in labels]
    group_of = dict(line.split("\t")[::2] for line in
                    (data / "eval" / name / f"keys-{split}.txt").read_text().splitlines())
    groups = sorted(set(group_of.values()))
    place = {group: i for i, group in enumerate(groups)}
    correct, n = numpy.zeros(len(groups)), numpy.zeros(len(groups))
    with open(results_json.parent / "predictions" / f"{name}.csv", newline="") as file:
        for row in csv.DictReader(file):
            i = place[group_of[row["key"]]]
            n[i] += 1
            correct[i] += of_class[int(row["target"])] == of_class[int(row["pred1"])]
    return correct, n


def accuracies(counts, draw):
    """Accuracy of each model for one draw of groups. counts: [models, 2, groups]."""
    correct, n = counts[:, 0, :][:, draw].sum(1), counts[:, 1, :][:, draw].sum(1)
    # Half a glyph keeps the logit finite at 0 and 1.
    return numpy.clip(correct / n, 0.5 / n, 1 - 0.5 / n)


def measure(x, y, fitted):
    """(slope, intercept, R2), effective robustness and residuals of all models."""
    u, v = logit(x), logit(y)
    slope, intercept = numpy.polyfit(u[fitted], v[fitted], 1)
    r2 = numpy.corrcoef(u[fitted], v[fitted])[0, 1] ** 2
    expected = slope * u + intercept
    return (slope, intercept, r2), y - 1 / (1 + numpy.exp(-expected)), v - expected


def study(counts_x, counts_y, baseline):
    """Point values and 95 % intervals of everything that `measure` returns.

    counts_x, counts_y  [models, 2, groups] of the reference and the shift
    baseline            places of the baseline's models
    """
    rng = numpy.random.default_rng(SEED)
    whole = [numpy.arange(c.shape[2]) for c in (counts_x, counts_y)]
    point = measure(accuracies(counts_x, whole[0]), accuracies(counts_y, whole[1]), baseline)
    lines, rho, residual = [], [], []
    for _ in range(REPLICATES):
        draw = [rng.integers(0, len(w), len(w)) for w in whole]
        models = rng.choice(baseline, len(baseline))
        while len(set(models)) < 3:  # two points are on every line
            models = rng.choice(baseline, len(baseline))
        line, r, e = measure(accuracies(counts_x, draw[0]), accuracies(counts_y, draw[1]), models)
        lines.append(line)
        rho.append(r)
        residual.append(e)
    ends = [numpy.percentile(numpy.array(values), [2.5, 97.5], axis=0)
            for values in (lines, rho, residual)]
    return point, ends, numpy.array(residual)


def verdict(low, high, margin=MARGIN):
    """Of a difference of residuals: the rule of the report for contrasts."""
    if low > 0 or high < 0:
        return "effect"
    return "no effect" if -margin < low and high < margin else "not resolved"


def cell(value, drawn, margin):
    low, high = numpy.percentile(drawn, [2.5, 97.5])
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}] {verdict(low, high, margin)}"


def contrast(mixture, members, by_arm, residual, drawn):
    """Residual of a mixture minus that of the member that stands highest on the shift."""
    best = max(members, key=lambda arm: residual[by_arm[arm]].mean())
    a, b = by_arm[mixture], by_arm[best]
    return cell(residual[a].mean() - residual[b].mean(),
                drawn[:, a].mean(1) - drawn[:, b].mean(1), MARGIN) + f" (best: {best})"


def folded_table(models, data, names):
    """Markdown: mean accuracy of each arm and of the baseline by set, exact and case-folded."""
    arms = {}
    for name, arm, in_baseline, path in models:
        arms.setdefault("baseline" if in_baseline else arm, []).append(path)
    lines = ["| exact / case-folded % | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for arm, paths in arms.items():
        cells = []
        for name in names:
            shares = [[correct.sum() / n.sum() for correct, n in (
                by_group(path, data, name, folded=folded) for path in paths)] for folded in (False, True)]
            cells.append(" / ".join(f"{100 * numpy.mean(share):.1f}" for share in shares))
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summarise(models, data, shifts, mixtures, reference="sans"):
    """Markdown of lines, arms and mixtures.

    models    [(name, arm, in baseline, path of results.json)]
    mixtures  {arm: arms of its members at the same total}
    """
    baseline = numpy.array([i for i, m in enumerate(models) if m[2]])
    counts = {name: numpy.array([by_group(m[3], data, name) for m in models])
              for name in [reference, *shifts]}
    by_arm = {}
    for i, (_, arm, in_baseline, _) in enumerate(models):
        if not in_baseline:
            by_arm.setdefault(arm, []).append(i)
    lines = ["| shift | models | slope | intercept | R2 |", "|---|---|---|---|---|"]
    columns = {arm: [] for arm in by_arm}
    mixtures = {arm: members for arm, members in mixtures.items()
                if all(a in by_arm for a in [arm, *members])}
    diluted = {arm: [] for arm in mixtures}
    for shift in shifts:
        (line, rho, residual), ends, drawn = study(counts[reference], counts[shift], baseline)
        cells = [f"{value:.2f} [{low:.2f}, {high:.2f}]"
                 for value, low, high in zip(line, *ends[0])]
        lines.append(f"| {shift} | {len(baseline)} | " + " | ".join(cells) + " |")
        for arm, places in by_arm.items():
            columns[arm].append(cell(residual[places].mean(), drawn[:, places].mean(1), MARGIN)
                                + f" ({100 * rho[places].mean():+.1f} pp)")
        for arm, members in mixtures.items():
            diluted[arm].append(contrast(arm, members, by_arm, residual, drawn))
    lines += ["", "| arm | seeds | " + reference + " % | " + " | ".join(shifts) + " |",
              "|---" * (3 + len(shifts)) + "|"]
    for arm, places in by_arm.items():
        x = 100 * accuracies(counts[reference], numpy.arange(counts[reference].shape[2]))
        lines.append(f"| {arm} | {len(places)} | {x[places].mean():.1f} | "
                     + " | ".join(columns[arm]) + " |")
    lines += ["", "| mixture minus its best member | " + " | ".join(shifts) + " |",
              "|---" * (1 + len(shifts)) + "|"]
    lines += [f"| {arm} | " + " | ".join(cells) + " |" for arm, cells in diluted.items()]
    return "\n".join(lines) + "\n"
