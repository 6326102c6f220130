"""Captions that are hard to clean and split: fixed ones, samples of every Unicode block, fuzzed ones.

A pure function of (count, seed): the golden file and the live comparison share it.
"""
import html.entities
import random
import unicodedata

import ftfy.bad_codecs  # registers the sloppy codecs

FIXED = [
    "", " ", "\t\n \u3000", "a photo of a cat", "A Photo OF a DOG.", "don't can't I'll we've I'm he'd they're it's",
    "DON'T CAN'T I'LL WE'VE I'M HE'D THEY'RE IT'S", "it'\u017f Jame'\u017f '\u017f 'S '\u212a", "o'clock ''s '''t 'x 'll'll",
    "1234567890 3.14 2\u00bd \u0664\u0662 \u216b \u3007", "hello-world foo_bar __init__ a/b\\c", "!!! ??? ... --- ***",
    "<start_of_text>", "<end_of_text>", "a <end_of_text> b", "a<end_of_text>b", "<START_OF_TEXT> x", "<\u017ftart_of_text> x",
    "!<end_of_text>", "<end_of_text><end_of_text>", "<end_of_text", "&lt;end_of_text&gt;", "&amp;lt;end_of_text&amp;gt;",
    "&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b> &amp; &eacute;", "first &amp;\n<b> &amp;\nthird &amp; &eacute;",
    "&amp;amp;amp;amp; &#38;#38;#38;", "&nbsp;&nbsp;x&nbsp;", "P&EACUTE;REZ &NTILDE; &nTILDE; BUNDESSTRA&SZLIG;E",
    "&not that &notit; &notin; &hellip &hellip; &ampx &AMP &Amp;", "&#x41;&#65;&#0;&#128;&#x80;&#129;&#150;&#xD800;&#x110000;&#99999999999;",
    "&#59; &#x3b; &#12ab; &#xzz; &#; &; &#x; &#x1F600; &#128512", "&#1;&#8;&#11;&#12;&#13;&#31;&#127;&#159;&#xFFFE;&#xFDD0;&#x1FFFF;",
    "&CounterClockwiseContourIntegral; &CounterClockwiseContourIntegralxyz;", "&bne; &nvlt; &fjlig; &ThickSpace;",
    "sch\u00c3\u00b6n", "\u00e2\u009c\u0094 No problems", "\u00e2\u0153\u201d No problems", "\u00c3\u00a9t\u00c3\u00a9 \u00c3 la mode",
    "voil\u00c3 le travail", "\u00c3 quele \u00c3 s 10h", "l\u2019\u00c3\u00a9pice", "\u00e2\u20ac\u0153like this\u00e2\u20ac\ufffd",
    "This text is sad .\u00e2\u0081\u201d.", "\u0432\u0402\u045a\u0432\u0402", "\u00d0\u0178\u00d1\u20ac\u00d0\u00b8\u00d0\u00b2\u00d0\u00b5\u00d1\u201a",
    "\u221a\u00a9 caf\u221a\u00a9", "\u251c\u00d7\u251c\u00a2", "\u00f0\u0178\u02dc\u20ac \u00f0\u0178\u2018\u008d", "\u00ed\u00a0\u00bd\u00ed\u00b8\u0080",
    "\u00c0\u0080 \u00c3\u00a9", "\u00c3\u00a9\u00c0\n", "\u00c3\u00a9\u00ed\u00a0\u0080\u00ed\u00b0\n", "\u00c3\u00a9\u00ed", "\u00ed\u0178\u00bf \u00c3\u00a9",
    "\u0085next\u0085line\u0092s \u0093quoted\u0094 \u0081", "\ufb01re \ufb02oor \ufb03 \ufb05 \u0133 \u01c6 \u0149gat", "\uff21\uff22\uff23 \uff76\uff9e\uff77 \uffe3 \uffe6\u3000x",
    "\u201ccurly\u201d \u2018single\u2019 \u201elow\u201f \u02bc", "a\r\nb\rc\u2028d\u2029e\x0bf\x0cg\x1ch\x1di", "\x1b[31mred\x1b[0m \x1b[\u0661;2mx \x1b[31 \x1b]",
    "a\x00b\x07c\x7fd\ufeffe\ufffcf\u206ag\u200bh\u200dz", "e\u0301 \u0065\u0323\u0302 \u1e9b\u0323 \u212b \uac00 \u1100\u1161\u11a8", "\u0958 \u2126 \ufb1d \u0344 \u0340",
    "\u039f\u0394\u039f\u03a3 \u03a3 \u03a3\u03a3 \u039f\u0394\u039f\u03a3. A\u0301\u03a3\u0301 \u03a3a a\u03a3'", "\u0130stanbul \u0130 I\u0307 \u0131 \u1e9e \u0345 \u03b1\u0345",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea \u2764\ufe0f 1\ufe0f\u20e3", "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\u4e00\u53ea\u732b\u5750\u5728\u57ab\u5b50\u4e0a", "\u732b\u304c\u597d\u304d\u3067\u3059\u3002\u30ab\u30bf\u30ab\u30ca", "\ud55c\uad6d\uc5b4 \uc0ac\uc9c4",
    "\u0635\u0648\u0631\u0629 \u0642\u0637\u0629 \u0661\u0662\u0663", "\u05ea\u05de\u05d5\u05e0\u05d4 \u05e9\u05dc", "\u092c\u093f\u0932\u094d\u0932\u0940 \u0915\u0940 \u0924\u0938\u094d\u0935\u0940\u0930",
    "\u0e20\u0e32\u0e1e\u0e41\u0e21\u0e27", "\u0444\u043e\u0442\u043e \u043a\u043e\u0448\u043a\u0438 \u0401\u0436", "h\u00ecnh \u1ea3nh con m\u00e8o", "Stra\u00dfe \u00dcBER \u00c5ngstr\u00f6m",
    "x" * 300, "supercalifragilisticexpialidocious" * 5, "ab" * 100, "\u00e9" * 120, "word " * 120, "\U0001f600" * 90, "9" * 90,
    "https://example.com/a?b=c&d=e#f", "john@example.com #tag @user $5.00 50% (c) 2020", "C++ C# .NET R&D AT&T Q&A",
    "\u0378 \u0530 \u1efd5 \U00011f04\u0301 \U00010efd\u0301\u0316 \u0898 \u1acd\u0301", "\u00a0x\u00a0\u202fy\u205fz", "\u2160\u2161 \u24b6\u24d0 \u00aa\u00ba\u00b2",
]

WORDS = ("a photo of the cat dog on table red Blue HOUSE car's don't we'll 2021 New-York caf\u00e9 na\u00efve \u00fcber Stra\u00dfe "
         "\u043a\u043e\u0448\u043a\u0430 \u041c\u043e\u0441\u043a\u0432\u0430 \u03b3\u03ac\u03c4\u03b1\u03a3 \u732b \u5bfa\u5e99 \u304b\u306a \ud55c\uad6d \u0635\u0648\u0631\u0629 \u05ea\u05de\u05d5 \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 \u201cok\u201d it\u2019s \u2013 \u2014 "
         "\u2026 \u20ac5 \u00a310 \u00a9 \u00ae \u2122 \u00bd \u00b0C \u00d7 \u2713 \u2605 \U0001f600 \U0001f468\u200d\U0001f469 \u0142\u00f3d\u017a \u010desk\u00fd \u0130zmir \u017fatz \ufb01n").split()
SPECIAL = ["<start_of_text>", "<end_of_text>", "<END_of_text>", "<\u017ftart_of_text>", "'\u017f", "'S", "'LL", "'Re", "[SEP]", "</w>", "_"]
CODECS = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
          "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437"]
SPACES = [" ", " ", " ", " ", "", "", "\u00a0", "\n", "\t", "\r\n", "\u3000", "\x0b", "\x1f", "\x85", "\u2028"]
CONTROLS = [chr(c) for c in [*range(32), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x200D, 0x206A, 0xFEFF, 0xFFF9, 0xFFFC, 0xFFFD]]
ENTITY_NAMES = sorted(html.entities.html5)
SUSPECT = sorted({bytes([b]).decode(codec) for codec in CODECS for b in range(0x80, 0x100)}) + ["\ufffd", " ", "?"]
PLANES = [(0x20, 0x7F, 4), (0xA0, 0x250, 4), (0x250, 0x2000, 6), (0x2000, 0x3400, 4), (0x3400, 0xD800, 2), (0xE000, 0x10000, 3),
          (0x10000, 0x20000, 3), (0x20000, 0x110000, 1)]


def random_character(rng):
    low, high, _ = rng.choices(PLANES, [w for *_, w in PLANES])[0]
    return chr(rng.randrange(low, high))


def mojibake(rng, text):
    """The text read in a wrong encoding, perhaps twice, perhaps with losses."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        raw = text.encode("utf-8", "surrogatepass")
        if rng.random() < 0.2:
            raw = raw.replace(b"\xa0", b" ")
        text = raw.decode(rng.choice(CODECS), "replace")
    if rng.random() < 0.15 and text:
        i = rng.randrange(len(text))
        text = text[:i] + rng.choice("\ufffd? ") + text[i + 1:]
    return text


def cesu(character):
    """UTF-8 of the two halves of a surrogate pair, read as Latin-1."""
    units = character.encode("utf-16-be")
    return "".join(units[i:i + 2].decode("utf-16-be", "surrogatepass") for i in range(0, len(units), 2)
                   ).encode("utf-8", "surrogatepass").decode("latin-1")


def entity(rng):
    kind = rng.randrange(6)
    name = rng.choice(ENTITY_NAMES)
    if kind == 0:
        return "&" + name
    if kind == 1:
        return "&" + name.upper()
    if kind == 2:
        return "&" + name.rstrip(";")[:rng.randrange(1, 12)] + rng.choice(["", ";", "x;", " "])
    number = rng.choice([rng.randrange(0x100), rng.randrange(0x3000), rng.randrange(0x120000)])
    text = f"&#{number}" if kind == 3 else f"&#{rng.choice('xX')}{number:x}"
    return text + rng.choice([";", ";", ";", "", "g;"])


def piece(rng):
    kind = rng.randrange(16)
    if kind < 5:
        return rng.choice(WORDS)
    if kind == 5:
        return "".join(random_character(rng) for _ in range(rng.randrange(1, 6)))
    if kind == 6:
        return "".join(rng.choice(SUSPECT) for _ in range(rng.randrange(1, 7)))
    if kind == 7:
        return mojibake(rng, "".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 3))))
    if kind == 8:
        return mojibake(rng, random_character(rng))
    if kind == 9:
        return entity(rng)
    if kind == 10:
        return rng.choice(CONTROLS)
    if kind == 11:
        return rng.choice(SPECIAL)
    if kind == 12:
        return rng.choice(["\x1b[0m", "\x1b[1;31m", "\x1b[", "<", ">", "&", "&amp;", ";", "#", "'"])
    if kind == 13:
        return rng.choice(WORDS) + chr(rng.choice([0x300, 0x301, 0x308, 0x323, 0x327, 0x345, 0x5B0, 0x94D, 0x3099]))
    if kind == 14:
        return cesu(chr(rng.randrange(0x1F300, 0x1F700)))
    return "".join(rng.choice("abcdeABCDE'\u03a3\u0130.\u00c3\u00c2") for _ in range(rng.randrange(1, 9)))


def fuzzed(rng):
    text = "".join(piece(rng) + rng.choice(SPACES) for _ in range(rng.randrange(1, 14)))
    if rng.random() < 0.12:
        text = mojibake(rng, text)
    return "".join(c for c in text if not 0xD800 <= ord(c) < 0xE000)


def blocks():
    """One caption a stretch of 64 code points that has a character."""
    for start in range(0, 0x110000, 64):
        points = [c for c in range(start, start + 64) if not 0xD800 <= c < 0xE000]
        if not 0x3500 <= start < 0xD700 and any(unicodedata.category(chr(c)) != "Cn" for c in points) and start < 0xE0200:
            yield start, points


def captions(count, seed):
    """`count` captions: FIXED, then samples of the blocks, then fuzzed ones."""
    rng = random.Random(seed)
    out = list(FIXED)
    for _, points in blocks():
        chosen = rng.sample(points, 10) if len(points) >= 10 else points
        out.append("".join(chr(c) + rng.choice(["", "", " ", "a", "'"]) for c in chosen))
    while len(out) < count:
        out.append(fuzzed(rng))
    return out[:count]
