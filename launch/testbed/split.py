"""Which groups are for testing, and the proof that nothing of them is in training.

Pictures here are pictures.Picture: raw (source, key, group), label, pixel_hash, outline.
"""

import collections
import hashlib

import numpy

from packages import BuildError

# A training picture this similar to an evaluated one is left out. 0.85 finds every redrawing and
# recolouring seen by eye; half of what it finds is merely round and plain, which costs little.
SIMILAR = 0.85
ASPECT_RATIO = 1.2


def stratum(pictures_of_group):
    """What a labelled group is balanced with: its source (all emoji sets are one), its class.

    None without any label: such a group cannot be evaluated.
    """
    labelled = next((p for p in pictures_of_group if p.label), None)
    if not labelled:
        return None
    source = "emoji" if labelled.raw.code_point else labelled.raw.source.removesuffix("_cartoon")
    return source, labelled.label


def test_groups(pictures, tested_whole, seed):
    """Half of the labelled groups of each source and class; all others are for training.

    Groups go in the order of a keyed hash, each to the side with fewer pictures (test first), with
    its pictures of all sources. The groups `tested_whole` are in test.
    """
    groups = collections.defaultdict(list)
    for picture in pictures:
        groups[picture.raw.group].append(picture)
    test = set(tested_whole)
    lead = collections.Counter()  # stratum -> pictures in training minus pictures in test
    for group in test:
        lead[stratum(groups[group])] -= len(groups[group])
    order = sorted(groups, key=lambda g: hashlib.sha256(f"{seed}\0{g}".encode()).digest())
    for group in order:
        place, size = stratum(groups[group]), len(groups[group])
        if place and group not in test:
            if lead[place] >= 0:
                test.add(group)
            lead[place] += -size if group in test else size
    return test


def similarity(pictures_a, pictures_b):
    """Correlation [a, b] of the outlines; 0 where the aspects differ by more than a fifth.

    Integer sums below 2^53, hence exact in any order of summation on any machine.
    """
    def moments(pictures):
        pixels = numpy.array([list(p.outline.pixels) for p in pictures], dtype=numpy.float64)
        total = pixels.sum(1)
        deviation = numpy.sqrt(pixels.shape[1] * (pixels * pixels).sum(1) - total * total + 1)
        return pixels, total, deviation, numpy.array([p.outline.aspect for p in pictures])

    a, total_a, deviation_a, aspect_a = moments(pictures_a)
    b, total_b, deviation_b, aspect_b = moments(pictures_b)
    covariance = a.shape[1] * (a @ b.T) - numpy.outer(total_a, total_b)
    ratio = aspect_a[:, None] / aspect_b[None, :]
    alike = (ratio < ASPECT_RATIO) & (ratio > 1 / ASPECT_RATIO)
    return covariance / numpy.outer(deviation_a, deviation_b) * alike


def redrawn(training, evaluation):
    """{key of a training picture: key of the evaluated picture it nearly equals}.

    Groups do not see these: the same drawing stands in two collections under two captions, or a
    variant by the same hand has another title.
    """
    alike = similarity(training, evaluation)
    nearest = alike.argmax(1)
    return {picture.raw.key: evaluation[nearest[row]].raw.key
            for row, picture in enumerate(training) if alike[row, nearest[row]] >= SIMILAR}


def audit_leaks(training, evaluation):
    """Raises BuildError when a group or a picture stands on both sides."""
    groups = {p.raw.group: p for p in training}
    hashes = {p.pixel_hash: p for p in training}
    for picture in evaluation:
        for what, other in [("group", groups.get(picture.raw.group)),
                            ("pixels", hashes.get(picture.pixel_hash))]:
            if other:
                raise BuildError(f"leak: {picture.raw.key} (evaluation) and {other.raw.key} "
                                 f"(training) have the same {what}")
