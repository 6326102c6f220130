"""From any decoded picture to the stored form: opaque, square, at most 128 px, PNG.

128 px: four times the 32 px of the testbed's models, so crops and resizes have something to
average, while all pictures together stay near 40 MB. Smaller pictures are not enlarged. PNG: exact,
and at this size it decodes as fast as JPEG.
"""

import dataclasses
import hashlib
import io

from PIL import Image

STORED_PX = 128
# Pictures are shrunk by a whole factor to about this size strip by strip while they are still
# transparent, because the largest here have 168 million pixels.
STRIP_PX = 1 << 24
# Above this a picture needs gigabytes to decode; one of 623 million pixels is left out.
MAX_PIXELS = 200_000_000

Image.MAX_IMAGE_PIXELS = None  # the limit above is checked by the reader, before it decodes


def over_white(image):
    """Composites onto white. Palette and grey+alpha too: hidden colours must not shine through."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return white.convert("RGB")


def over_white_in_strips(image):
    """Same for any size: composites strip by strip and box-averages each by a whole factor."""
    width, height = image.size
    if width * height <= STRIP_PX:
        return over_white(image)
    factor = max(width, height) // 1024
    rows = max(1, STRIP_PX // width // factor) * factor
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)), "white")
    for top in range(0, height, rows):
        strip = over_white(image.crop((0, top, width, min(top + rows, height))))
        small.paste(strip.reduce(factor), (0, top // factor))
    return small


def square(image):
    """Pads an opaque picture with white to a square, the picture in the middle."""
    side = max(image.size)
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas


def stored(image):
    """Square picture as it is stored; shrinks only, antialiased."""
    image = square(image)
    if image.width <= STORED_PX:
        return image
    return image.resize((STORED_PX, STORED_PX), Image.Resampling.BICUBIC)


def png(image):
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def pixel_hash(image):
    """SHA-256 of the 32x32 composite: equal for pictures that differ only in size or metadata."""
    small = image.resize((32, 32), Image.Resampling.BICUBIC)
    return hashlib.sha256(small.tobytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Outline:
    """What a picture looks like apart from its place, size and colours."""
    pixels: bytes  # 24x24 grey of the part that is not white
    aspect: float  # width / height of that part


def outline(image):
    grey = image.convert("L")
    ink = grey.point(lambda value: 255 if value < 240 else 0).getbbox()
    if ink:
        grey = grey.crop(ink)
    small = grey.resize((24, 24), Image.Resampling.BOX)
    return Outline(small.tobytes(), grey.width / grey.height)
