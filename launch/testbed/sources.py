"""Readers of the picture sources: each yields Raw pictures with caption, keywords and group.

`open_image(raw)` gives the decoded picture, later and in another process, because decoding is what
takes time. Groups are what must not be torn apart between training and test.
"""

import dataclasses
import functools
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import Image, ImageChops, ImageDraw, ImageFont

import pixels

PACKAGES = ["openclipart-png", "openclipart-svg", "tuxpaint-stamps-default", "pysiogame",
            "ruby-gemojione", "fonts-noto-color-emoji", "fonts-symbola", "unicode-cldr-core",
            "wordnet-base"]

# Not pictures of things: geometric shapes, icons, signs, patterns.
CLIPART_LEFT_OUT = {"shapes", "computer", "signs_and_symbols", "special", "logos", "buttons"}
STAMPS_LEFT_OUT = {"symbols"}

DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
SYMBOLA_PX = 256


@dataclasses.dataclass(frozen=True)
class Raw:
    source: str
    key: str        # SOURCE-NAME, a-z 0-9 - _ only, unique
    kind: str       # file | noto | symbola: how open_image reads it
    path: Path
    code_point: int  # emoji only, else 0
    caption: str
    keywords: tuple
    group: str


def key(source, relative):
    name = relative.with_suffix("").as_posix().lower()
    return f"{source}-" + re.sub("[^a-z0-9_]+", "-", name).strip("-")


def files(root, suffix):
    """Regular files only: a link shows a picture that is already there under another name."""
    return [path for path in sorted(root.rglob("*" + suffix), key=lambda p: p.as_posix())
            if path.is_file() and not path.is_symlink()]


def clipart_text(svg):
    """Title and keywords of a clip-art, from the RDF metadata of its SVG."""
    root = ElementTree.fromstring(svg.read_bytes())
    title = root.find(f".//{DUBLIN_CORE}title")
    title = (title.text or "") if title is not None else ""
    title = re.sub(r"^Clipart by .*? - ?", "", " ".join(title.split()))
    words = [" ".join((item.text or "").split())
             for subject in root.iter(DUBLIN_CORE + "subject") for item in subject.iter(RDF + "li")]
    return title, tuple(word for word in words if word)


def title_group(title):
    """Sorted distinct words without digits and parentheses: "Dog 01 (Wizard)" -> "dog"."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"\([^)]*\)", " ", title).lower())
    return " ".join(sorted(set(words)))


def clipart(png_root, svg_root):
    # In reverse order of path, so that of equal pictures the last path is the one that is kept.
    for path in reversed(files(png_root, ".png")):
        relative = path.relative_to(png_root)
        if relative.parts[0] in CLIPART_LEFT_OUT:
            continue
        title, keywords = clipart_text((svg_root / relative).with_suffix(".svg"))
        yield Raw("clipart", key("clipart", relative), "file", path, 0, title, keywords,
                  title_group(title))


def stamps(root):
    """Photo cut-outs ("stamps") and drawings ("stamps_cartoon"); keywords are the folder names."""
    for path in files(root, ".png"):
        relative = path.relative_to(root)
        text = path.with_suffix(".txt")
        if relative.parts[0] in STAMPS_LEFT_OUT or not text.exists():
            continue  # without text: mirrored copies of another stamp
        caption = text.read_text(encoding="utf-8").splitlines()[0].strip()
        source = "stamps_cartoon" if "cartoon" in relative.parts else "stamps"
        keywords = tuple(part for part in relative.parts[:-1] if part != "cartoon")
        yield Raw(source, key("stamps", relative), "file", path, 0, caption, keywords,
                  caption.lower())


def art4apps(root):
    for path in files(root, ".jpg"):
        relative = path.relative_to(root)
        caption = path.stem.replace("_", " ")
        folder = relative.parts[0].replace("_n_", " and ")
        yield Raw("art4apps", key("art4apps", relative), "file", path, 0, caption, (folder,),
                  caption.lower())


def short_names(annotations):
    """{code point: (short name, keywords)} of the characters CLDR names."""
    names, keywords = {}, {}
    for item in ElementTree.parse(annotations).iter("annotation"):
        if len(item.get("cp")) != 1:
            continue
        code_point = ord(item.get("cp"))
        if item.get("type") == "tts":
            names[code_point] = item.text.strip()
        else:
            keywords[code_point] = tuple(word.strip() for word in item.text.split("|"))
    return {point: (name, keywords.get(point, ())) for point, name in names.items()}


def emoji(source, kind, path, code_point, names):
    name, keywords = names[code_point]
    return Raw(source, f"{source}-{code_point:04x}", kind, path, code_point, name, keywords,
               f"U+{code_point:04X}")


def emojione(root, names):
    for path in files(root, ".png"):
        if "-" not in path.stem and int(path.stem, 16) in names:
            yield emoji("emojione", "file", path, int(path.stem, 16), names)


def noto_code_points(font, names):
    return sorted(point for point in TTFont(font).getBestCmap() if point in names)


def noto(font, names):
    for point in noto_code_points(font, names):
        yield emoji("noto", "noto", font, point, names)


def symbola(font, noto_font, names):
    """Line drawings of the same concepts: what sketches are to photographs."""
    drawn = TTFont(font).getBestCmap()
    for point in noto_code_points(noto_font, names):
        if point in drawn:
            yield emoji("symbola", "symbola", font, point, names)


def read_all(roots):
    """All sources in a fixed order; `roots` maps package names to their unpacked folders."""
    share = {name: root / "usr" / "share" for name, root in roots.items()}
    names = short_names(share["unicode-cldr-core"] / "unicode/cldr/common/annotations/en.xml")
    noto_font = share["fonts-noto-color-emoji"] / "fonts/truetype/noto/NotoColorEmoji.ttf"
    symbola_font = share["fonts-symbola"] / "fonts/truetype/ancient-scripts/Symbola_hint.ttf"
    gem = next((share["ruby-gemojione"] / "rubygems-integration/all/gems").glob("gemojione-*"))
    return [
        *clipart(share["openclipart-png"] / "openclipart/png",
                 share["openclipart-svg"] / "openclipart/svg"),
        *stamps(share["tuxpaint-stamps-default"] / "tuxpaint/stamps"),
        *art4apps(share["pysiogame"] / "games/pysiogame/res/images/art4apps"),
        *emojione(gem / "assets/png", names),
        *noto(noto_font, names),
        *symbola(symbola_font, noto_font, names),
    ]


@functools.cache
def noto_strike(path):
    """Glyph name -> PNG of the only bitmap size, and the character map."""
    font = TTFont(path)
    return font["CBDT"].strikeData[0], font.getBestCmap()


@functools.cache
def symbola_font(path):
    return ImageFont.truetype(str(path), SYMBOLA_PX, layout_engine=ImageFont.Layout.BASIC)


def rendered(font, character):
    """Black on white, cropped to the ink with a margin of a sixteenth of the longer side."""
    left, top, right, bottom = font.getbbox(character)
    canvas = Image.new("RGB", (right - left + 8, bottom - top + 8), "white")
    ImageDraw.Draw(canvas).text((4 - left, 4 - top), character, font=font, fill="black")
    ink = ImageChops.invert(canvas).getbbox()
    if ink is None:
        return canvas
    drawing = canvas.crop(ink)
    margin = max(drawing.size) // 16
    framed = Image.new("RGB", (drawing.width + 2 * margin, drawing.height + 2 * margin), "white")
    framed.paste(drawing, (margin, margin))
    return framed


def open_image(raw):
    """Opaque RGB picture, or None when it is too large to decode."""
    if raw.kind == "symbola":
        return rendered(symbola_font(raw.path), chr(raw.code_point))
    if raw.kind == "noto":
        bitmaps, characters = noto_strike(raw.path)
        data = io.BytesIO(bitmaps[characters[raw.code_point]].imageData)
        return pixels.over_white(Image.open(data))
    with Image.open(raw.path) as image:
        if image.width * image.height > pixels.MAX_PIXELS:
            return None
        return pixels.over_white_in_strips(image)
