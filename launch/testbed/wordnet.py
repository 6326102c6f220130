"""Coarse classes of a caption by WordNet 3.0: the rule that labels the pictures testbed.

Tokens are the lower-case runs of a-z. At each place the longest n-gram (3, 2, 1 words, joined by
"_") that WordNet knows as a noun is taken, its first sense is followed up all hypernym pointers
(`@`, `@i`), and the classes whose root it meets are its classes. A caption that meets exactly one
class over all its nouns is labelled. The rule is substring matching with its noise ("turtle" is
first of all a sweater); training keeps the noise, evaluation labels are audited.
"""

import re

# Class -> lemmas whose first sense is a root. The order is the order of class indices.
ROOTS = {
    "bird": ["bird"],
    "mammal": ["mammal"],
    "insect": ["arthropod"],
    "fruit": ["edible_fruit"],
    "flower": ["flower"],
    "tree": ["tree"],
    "car": ["motor_vehicle"],
    "clothing": ["clothing", "footwear", "hat"],
    "instrument": ["musical_instrument"],
    "building": ["building"],
}
CLASSES = list(ROOTS)

# Plural suffixes and their replacement, in the order of WordNet's morphology.
SUFFIXES = [("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
            ("men", "man"), ("ies", "y")]


class Nouns:
    """The noun files of WordNet: `index.noun`, `noun.exc`, `data.noun` under `folder`."""

    def __init__(self, folder):
        self.first_sense = {}
        self.exceptions = {}
        self.hypernyms = {}
        for line in (folder / "index.noun").read_text().splitlines():
            if line.startswith(" "):
                continue  # the licence
            # lemma pos synset_cnt p_cnt [symbol]*p_cnt sense_cnt tagsense_cnt offset...
            fields = line.split()
            self.first_sense[fields[0]] = fields[6 + int(fields[3])]
        for line in (folder / "noun.exc").read_text().splitlines():
            inflected, *bases = line.split()
            self.exceptions[inflected] = bases
        for line in (folder / "data.noun").read_text().splitlines():
            if line.startswith(" "):
                continue
            # offset lex type w_cnt(hex) [word id]*w_cnt p_cnt [symbol offset pos src]*p_cnt
            fields = line.split(" | ")[0].split()
            count = 4 + 2 * int(fields[3], 16)
            pointers = range(count + 1, count + 1 + 4 * int(fields[count]), 4)
            self.hypernyms[fields[0]] = [fields[p + 1] for p in pointers
                                         if fields[p] in ("@", "@i")]
        self.class_of_root = {self.first_sense[lemma]: name
                              for name, lemmas in ROOTS.items() for lemma in lemmas}

    def sense(self, gram):
        """First sense of a word or of words joined by "_", or None when it is no noun."""
        candidates = self.exceptions.get(gram, []) + [gram]
        candidates += [gram[:-len(suffix)] + ending for suffix, ending in SUFFIXES
                       if gram.endswith(suffix)]
        return next((self.first_sense[c] for c in candidates if c in self.first_sense), None)

    def classes_above(self, synset):
        found, pending, seen = set(), [synset], set()
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            if current in self.class_of_root:
                found.add(self.class_of_root[current])
            pending += self.hypernyms[current]
        return found

    def classes(self, text):
        """Set of the classes of all nouns in `text`."""
        tokens = re.findall("[a-z]+", text.lower())
        found, place = set(), 0
        while place < len(tokens):
            for length in (3, 2, 1):
                gram = tokens[place:place + length]
                synset = self.sense("_".join(gram)) if len(gram) == length else None
                if synset:
                    found |= self.classes_above(synset)
                    break
            place += length
        return found

    def label(self, fields):
        """Class of the first field with any class, if it has exactly one; else None."""
        for field in fields:
            found = self.classes(field)
            if found:
                return found.pop() if len(found) == 1 else None
        return None
