"""From a character of a font to the stored glyph: 32x32, 8-bit grey, dark on white.

Drawn at four times 48 px and averaged: hinting, which FreeType does to whole pixels of what it
draws, then moves an outline by less than an eighth of a pixel.
"""

import hashlib
import io

from PIL import Image, ImageDraw, ImageFont

import faces

EM_PX = 48
OVERSAMPLED = 4
LEAST_COVERAGE = 8
SIDE = 32


def framed(coverage):
    """Coverage (0: paper) cropped to more than 8, padded to a square, 32x32; None when blank."""
    box = coverage.point(lambda value: 255 if value > LEAST_COVERAGE else 0).getbbox()
    if box is None:
        return None
    ink = coverage.crop(box)
    side = max(ink.size)
    square = Image.new("L", (side, side), 0)
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    small = square.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return small.point(lambda value: 255 - value)


def on_baseline(canvas, box, top, side):
    """Coverage in the square of its face, `side` px; its top at `top`. None when blank.

    box  where the ink may stand in the canvas: cut out, centred across
    """
    if canvas.getbbox() is None:
        return None
    square = Image.new("L", (side, side), 0)
    ink = canvas.crop(box)
    square.paste(ink, ((side - ink.width) // 2, top))
    if square.point(lambda value: 255 if value > LEAST_COVERAGE else 0).getbbox() is None:
        return None
    small = square.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return small.point(lambda value: 255 - value)


def render_em(font):
    """Characters in one frame a face: the smallest square that holds each, all on one baseline.

    Relative sizes and heights stay, so that C and c, O and o differ.
    """
    boxes = [font.getbbox(character, anchor="ls") for character in faces.CHARACTERS]
    highest, lowest = min(box[1] for box in boxes), max(box[3] for box in boxes)
    side = max([lowest - highest] + [box[2] - box[0] for box in boxes])
    images = []
    for character, (left, top, right, bottom) in zip(faces.CHARACTERS, boxes):
        size = (max(right - left, 1), max(bottom - top, 1))
        canvas = Image.new("L", size, 0)
        ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=font, anchor="ls")
        room = side - (lowest - highest)
        images.append(on_baseline(canvas, (0, 0, *size), top - highest + room // 2, side))
    return images


def render(path, frame="bbox"):
    """An image or None for each of faces.CHARACTERS. Raises OSError for a broken font.

    frame  bbox: each cropped to its ink; em: one square a face (render_em)
    """
    font = ImageFont.truetype(str(path), EM_PX * OVERSAMPLED,
                              layout_engine=ImageFont.Layout.BASIC)
    if frame == "em":
        return render_em(font)
    images = []
    for character in faces.CHARACTERS:
        left, top, right, bottom = font.getbbox(character)
        # A margin, because some fonts draw beyond the box that they state.
        margin = EM_PX
        size = [(high - low + 2 * margin + OVERSAMPLED) // OVERSAMPLED * OVERSAMPLED
                for low, high in ((left, right), (top, bottom))]
        canvas = Image.new("L", size, 0)
        ImageDraw.Draw(canvas).text((margin - left, margin - top), character, fill=255, font=font)
        images.append(framed(canvas.reduce(OVERSAMPLED)))
    return images


def pen_digit(values):
    """8x8 values 0..16 of ink, row by row, enlarged."""
    small = Image.frombytes("L", (8, 8), bytes(255 - value * 255 // 16 for value in values))
    return small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def png(image):
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def pixel_hash(image):
    return hashlib.sha256(image.tobytes()).hexdigest()
