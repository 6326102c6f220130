"""Which glyphs are for training, validation and test: whole families, never glyphs or faces."""

import collections
import dataclasses
import hashlib

import faces
from packages import BuildError

SPLITS = ("train", "validation", "test")
TEST, VALIDATION = 0.3, 0.1
EQUAL_GLYPHS = 5  # families that share so many are one design


@dataclasses.dataclass(frozen=True)
class Glyph:
    key: str
    source: str
    label: int
    family: str
    caption: str
    png: bytes
    pixels: str  # hash
    group: str = ""  # of families
    split: str = ""


def drop_equal_small_letters(glyphs):
    """Glyphs of one face without the small letters that look like their capital."""
    capital = {g.label: g.pixels for g in glyphs if g.label < 26}
    return [g for g in glyphs if not (26 <= g.label < 52 and capital.get(g.label - 26) == g.pixels)]


def merge_families(glyphs):
    """{family: group}: families of one design, by hand or by equal glyphs, form one group."""
    parent = {g.family: g.family for g in glyphs}

    def root(family):
        while parent[family] != family:
            family = parent[family]
        return family

    def join(a, b):
        a, b = sorted((root(a), root(b)))
        parent[b] = a

    for first, *others in faces.SAME_DESIGN:
        for other in others:
            if first in parent and other in parent:
                join(first, other)
    holders = collections.defaultdict(set)
    for g in glyphs:
        holders[g.label, g.pixels].add(g.family)
    shared = collections.Counter()
    for families in holders.values():
        ordered = sorted(families)
        shared.update((a, b) for i, a in enumerate(ordered) for b in ordered[i + 1:])
    for (a, b), equal in sorted(shared.items()):
        if equal >= EQUAL_GLYPHS:
            join(a, b)
    return {family: root(family) for family in parent}


def split_groups(groups, seed):
    """{group: split}; of the groups of each source 30 % are for test, 10 % for validation.

    groups: {group: source}, a group of several sources under the first in their order.
    """
    split = {}
    for source in sorted(set(groups.values())):
        members = [group for group in groups if groups[group] == source]
        members.sort(key=lambda g: hashlib.sha256(f"{seed}\0{g}".encode()).digest())
        test = round(TEST * len(members))
        validation = round(VALIDATION * len(members))
        for place, group in enumerate(members):
            split[group] = ("test" if place < test else
                            "validation" if place < test + validation else "train")
    return split


def assign(glyphs, seed):
    """(glyphs with group and split, how many were dropped).

    Dropped: what has equal pixels in a split nearer to the test (a bar is the letter l of many
    fonts). Glyphs that come with a split keep it and are a group of their own.
    """
    free = [g for g in glyphs if not g.split]
    group_of = merge_families(free)
    source_of = {}
    for g in sorted(free, key=lambda g: (g.source, g.family)):
        source_of.setdefault(group_of[g.family], g.source)
    split = split_groups(source_of, seed)
    placed = [dataclasses.replace(g, group=g.family) if g.split else
              dataclasses.replace(g, group=group_of[g.family], split=split[group_of[g.family]])
              for g in glyphs]
    place = {}
    for g in placed:
        nearest = place.get(g.pixels, "train")
        place[g.pixels] = max(nearest, g.split, key=SPLITS.index)
    kept = [g for g in placed if place[g.pixels] == g.split]
    return kept, len(placed) - len(kept)


def audit_leaks(glyphs):
    """Raises BuildError when a group or a picture stands in two splits."""
    for what in ("group", "pixels"):
        seen = {}
        for g in glyphs:
            other = seen.setdefault(getattr(g, what), g)
            if other.split != g.split:
                raise BuildError(f"leak: {g.key} ({g.split}) and {other.key} ({other.split}) "
                                 f"have the same {what}")
