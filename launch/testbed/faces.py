"""Font files to faces: which source a face belongs to, its family, and what is left out.

Rules and counts: docs/reference/testbed-glyphs.md.
"""

import collections
import dataclasses
import hashlib
import re
import string
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError

CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
FACES_A_FAMILY = 4

# Debian packages by source; the family name decides over the package (source_of).
PACKAGES = {source: ["fonts-" + name for name in names.split()] for source, names in {
    "sans": "dejavu-core dejavu-extra liberation2 urw-base35 lato roboto-unhinted open-sans "
            "cantarell inter comfortaa dosis quicksand cabin tuffy junction karla jura play "
            "league-spartan b612 go crosextra-carlito adf-gillius adf-universalis adf-verana "
            "adf-switzera adf-ikarius adf-libris beteckna clear-sans manrope sora oxygen "
            "yanone-kaffeesatz eurofurence routed-gothic opendin",
    "serif": "cmu crosextra-caladea linuxlibertine ebgaramond vollkorn oldstandard fanwood "
             "goudybookletter lindenhill prociono cardo essays1743 adf-accanthis adf-baskervald "
             "adf-berenis adf-romande adf-tribun adf-irianis quattrocento arapey "
             "century-catalogue levien-museum roboto-slab gfs-didot gfs-artemisia",
    "mono": "inconsolata hack firacode anonymous-pro jetbrains-mono courier-prime hermit 3270 "
            "fantasque-sans mononoki monofur agave league-mono",
    "hand": "dkg-handwriting breip bwht sjfonts femkeklaver rufscript humor-sans kristi "
            "kaushanscript dancingscript ecolier-court lobster lobstertwo leckerli-one joscelyn "
            "tomsontalks comic-neue georgewilliams dustin",
    "decorative": "aenigma",
}.items()}

# The first prefix of a family name that fits decides; "": left out.
BY_NAME = [
    ("Linux Biolinum Keyboard", ""), ("D050000L", ""), ("Standard Symbols", ""),
    ("El Abogado Loco", ""), ("Junkyard", ""), ("Penguin Attack", ""), ("Wargames", ""),
    ("Cupola", ""),
    ("Z003", "hand"), ("Domestic Manners", "hand"), ("It wasn't me", "hand"), ("Caliban", "hand"),
    ("DejaVu Serif", "serif"), ("DejaVu Math", "serif"), ("Liberation Serif", "serif"),
    ("C059", "serif"), ("Nimbus Roman", "serif"), ("P052", "serif"), ("URW Bookman", "serif"),
    ("Verana Sans", "sans"), ("Verana", "serif"), ("Caslon", "serif"),
    ("Dustismo Roman", "serif"), ("Dustismo", "sans"), ("Linux Biolinum", "sans"),
    ("CMU Bright", "sans"), ("CMU Sans", "sans"),
]
MONO = re.compile("mono|typewriter|courier")

# Words of a family name that name a face of it. "Display" and "Text" are optical sizes.
STYLE = {
    "thin", "hairline", "extralight", "ultralight", "light", "book", "regular", "medium", "demi",
    "semibold", "demibold", "bold", "extrabold", "black", "heavy", "ultra", "extra",
    "condensed", "semi-condensed", "narrow", "wide", "semi", "compressed", "expanded",
    "italic", "oblique", "slanted", "inclined", "half", "upright",
    "display", "text", "smallcaps", "math",
}

# Redrawings of one design whose glyphs are similar, not equal.
SAME_DESIGN = [("lato", "carlito"), ("dejavu sans mono", "hack"),
               ("nimbus sans", "liberation sans", "switzera adf"),
               ("nimbus roman", "liberation serif")]


@dataclasses.dataclass(frozen=True)
class Face:
    path: Path
    source: str
    family: str  # as family_key gives it, before merging
    name: str    # full name, such as "Lato Bold Italic"


def source_of(family, package):
    """Source of a face, or "" when it is left out. `package`: the source of its package."""
    if package == "decorative":
        return package  # a collection of one hand's display faces, whatever their names say
    for prefix, source in BY_NAME:
        if family.startswith(prefix):
            return source
    return "mono" if MONO.search(family.lower()) else package


def family_key(family):
    """Family name without words of weight, width, slant and variant, lower case."""
    words = [word for word in re.split(r"[\s_]+", family.lower()) if word]
    kept = [word for word in words if word not in STYLE]
    return " ".join(kept or words)


def read_face(path, package):
    """The face of a font file, or None when it is left out or lacks a character."""
    try:
        font = TTFont(path, lazy=True, fontNumber=0)
        characters = font.getBestCmap() or {}
        names = [font["name"].getDebugName(number) for number in (16, 1, 4)]
    except (TTLibError, KeyError):
        return None
    family = (names[0] or names[1] or "").strip()
    if not family or any(ord(c) not in characters for c in CHARACTERS):
        return None
    source = source_of(family, package)
    if not source:
        return None
    full = " ".join((names[2] or family).split())
    return Face(path, source, family_key(family), full)


def rank(text, seed):
    return hashlib.sha256(f"{seed}\0{text}".encode()).digest()


def read_all(roots, seed):
    """Faces of unpacked packages {name: folder}; of each family the first four by keyed hash."""
    families = collections.defaultdict(list)
    for package_source, package in ((s, p) for s, names in PACKAGES.items() for p in names):
        for path in sorted(roots[package].rglob("*")):
            if path.suffix.lower() not in (".ttf", ".otf") or path.is_symlink():
                continue
            face = read_face(path, package_source)
            if face:
                families[face.source, face.family].append(face)
    chosen = []
    for key in sorted(families):
        faces = sorted(families[key], key=lambda face: rank(f"{face.name}\0{face.path.name}", seed))
        chosen += faces[:FACES_A_FAMILY]
    return chosen
