#!/usr/bin/env python3
"""Writes encoded images and what Pillow and torchvision make of them.

    make_image_golden.py OUT              the committed golden set (OUT = tests/golden/image)
    make_image_golden.py OUT --live SEED  random images, for the live comparison

OUT then holds image files and expected.json: versions, and for each file the SHA-256 of the decoded
RGB bytes (null when Pillow refuses the file) and of a number of resizes and transforms. Files that
already stand in OUT are described too: jpeg-*.jpg come from tests/image/jpeg_samplings.cpp, because
Pillow cannot write those sampling factors (image_test with PLUMBLINE_KEEP=1 leaves them in its
temporary folder).
"""
import argparse
import hashlib
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
import torch
import torchvision
import torchvision.transforms.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop

FAMILIES = {
    "openai": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "siglip": ([0.5] * 3, [0.5] * 3),
    "clipa": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}
FILTERS = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}


def picture(rng, width, height, channels=3):
    """Smooth waves, a hard-edged disc and noise: exercises rounding, clipping and edges."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for _ in range(channels):
        a, b, c = rng.uniform(0.02, 0.4), rng.uniform(0.02, 0.4), rng.uniform(0, 6)
        plane = 128 + 90 * np.sin(a * x + b * y + c)
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(1, 1 + width / 3)
        plane[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.choice([0, 255])
        planes.append(plane + rng.normal(0, 12, plane.shape))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scanlines(samples, depth):
    """[h, w, c] sample values to filtered rows (filter 0 and 1 by turns), packed to `depth` bits."""
    h, w, c = samples.shape
    out = b""
    for y in range(h):
        row = samples[y].reshape(-1)
        if depth == 16:
            data = row.astype(">u2").tobytes()
        elif depth == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            data = np.packbits(bits.reshape(-1)).tobytes()
        bpp = max(1, c * depth // 8)
        if y % 2:
            raw = np.frombuffer(data, np.uint8)
            left = np.concatenate([np.zeros(bpp, np.uint8), raw[:-bpp]])[: len(raw)]
            data = (raw - left).astype(np.uint8).tobytes()
        out += bytes([y % 2]) + data
    return out


def png(samples, depth, color, interlaced=False, extra=b"", end=True):
    """A PNG of any bit depth, colour type and interlacing; Pillow writes only some of them."""
    h, w, _ = samples.shape
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
                  (0, 1, 1, 2)]
        parts = [samples[y0::dy, x0::dx] for x0, y0, dx, dy in passes]
        data = b"".join(scanlines(p, depth) for p in parts if p.size)
    else:
        data = scanlines(samples, depth)
    header = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, int(interlaced))
    body = zlib.compress(data, 9)
    cut = len(body) // 2
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    out += chunk(b"IDAT", body[:cut]) + chunk(b"IDAT", body[cut:])
    return out + (chunk(b"IEND", b"") if end else b"")


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png_case(rng, width, height, depth, color, interlaced, trns=False, short_palette=False):
    channels = CHANNELS[color]
    samples = picture(rng, width, height, channels).astype(np.uint32)
    if depth == 16:
        samples = samples * 257 + rng.integers(0, 256, samples.shape)
        if color == 0:  # some values below 256, where clipping keeps detail
            samples = np.where(rng.random(samples.shape) < 0.5, samples % 256, samples % 65536)
        samples = np.minimum(samples, 65535)
    else:
        samples = samples >> (8 - depth)
    extra = chunk(b"gAMA", struct.pack(">I", 100000))
    if color == 3:
        entries = 1 << depth
        if short_palette:
            entries = max(1, entries // 2)
        extra += chunk(b"PLTE", rng.integers(0, 256, 3 * entries).astype(np.uint8).tobytes())
    if trns:
        size = {0: 2, 2: 6, 3: 2}[color]
        extra += chunk(b"tRNS", bytes(size))
    extra += chunk(b"tEXt", b"Comment\0plumb line")
    return png(samples, depth, color, interlaced, extra)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_files(rng, size):
    for color, depths in {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16],
                          6: [8, 16]}.items():
        for depth in depths:
            for interlaced in (False, True):
                w, h = size(), size()
                name = f"png-c{color}-d{depth}{'-adam7' if interlaced else ''}.png"
                yield name, png_case(rng, w, h, depth, color, interlaced)
    yield "png-grey-trns.png", png_case(rng, size(), size(), 8, 0, False, trns=True)
    yield "png-rgb-trns.png", png_case(rng, size(), size(), 8, 2, False, trns=True)
    yield "png-palette-trns.png", png_case(rng, size(), size(), 4, 3, False, trns=True)
    yield "png-palette-short.png", png_case(rng, size(), size(), 8, 3, False, short_palette=True)


def pillow_files(rng, size):
    def rgb(c=3):
        return Image.fromarray(picture(rng, size(), size(), c))

    def grey():
        return Image.fromarray(picture(rng, size(), size(), 1)[..., 0])

    for subsampling in (0, 1, 2):
        for progressive in (False, True):
            name = f"pil-s{subsampling}{'-progressive' if progressive else ''}.jpg"
            yield name, saved(rgb(), "JPEG", quality=int(rng.integers(30, 97)),
                              subsampling=subsampling, progressive=progressive)
    yield "pil-restart.jpg", saved(rgb(), "JPEG", quality=90, restart_marker_blocks=2)
    yield "pil-grey.jpg", saved(grey(), "JPEG", quality=85)
    yield "pil-rgb.jpg", saved(rgb(), "JPEG", quality=85, keep_rgb=True)
    cmyk = Image.fromarray(picture(rng, size(), size(), 4), mode="CMYK")
    yield "pil-cmyk.jpg", saved(cmyk, "JPEG", quality=90)
    yield "pil-exif-rotated.jpg", saved(rgb(), "JPEG", quality=90, exif=rotated_exif())
    yield "webp-lossy.webp", saved(rgb(), "WEBP", quality=int(rng.integers(20, 95)))
    yield "webp-lossless.webp", saved(rgb(), "WEBP", lossless=True)
    rgba = Image.fromarray(picture(rng, size(), size(), 4))
    yield "webp-alpha.webp", saved(rgba, "WEBP", quality=80)
    yield "webp-lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True)
    frames = [Image.fromarray(picture(rng, 24, 20)) for _ in range(3)]
    yield "webp-animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])


def rotated_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def decode(data):
    """What OpenCLIP's data path makes of the bytes, or None where Pillow refuses them."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
        return image.convert("RGB")
    except Exception:  # Pillow raises many kinds for bad files
        return None


def resize_record(image, rng, horizontal=False):
    w, h = image.size
    bw, bh = int(rng.integers(1, w + 1)), int(rng.integers(1, h + 1))
    left, top = int(rng.integers(0, w - bw + 1)), int(rng.integers(0, h - bh + 1))
    ow, oh = int(rng.integers(1, 2 * w + 4)), int(rng.integers(1, 2 * h + 4))
    if rng.random() < 0.2:
        ow = bw
    if rng.random() < 0.2:
        oh = bh
    name = "bicubic" if rng.random() < 0.7 else "bilinear"
    mode = FILTERS[name]
    crop = F.crop(image, top, left, bh, bw)
    if horizontal:  # what Pillow up to 12 does in one call
        out = F.resize(F.resize(crop, [bh, ow], mode), [oh, ow], mode)
    else:
        out = F.resize(crop, [oh, ow], mode)
    return {"kind": "resize", "box": [left, top, bw, bh], "size": [ow, oh], "filter": name,
            "order": "horizontal" if horizontal else "pillow13", "uint8": digest(np.asarray(out))}


def eval_record(image, rng, mode, size, family):
    from open_clip.transform import image_transform
    mean, std = FAMILIES[family]
    filter_name = "bilinear" if family == "clipa" else "bicubic"
    fill = int(rng.integers(0, 256)) if mode == "longest" else 0
    side = size[0] if size[0] == size[1] else (size[1], size[0])
    transform = image_transform(side, False, tuple(mean), tuple(std), resize_mode=mode,
                                interpolation=filter_name, fill_color=fill)
    try:
        pixels = image
        for step in transform.transforms[:-2]:
            pixels = step(pixels)
        value = transform(image).contiguous()
    except (ValueError, RuntimeError):  # a side rounded to 0
        return None
    assert tuple(value.shape) == (3, size[1], size[0])
    return {"kind": "eval", "mode": mode, "size": size, "family": family, "filter": filter_name,
            "fill": fill, "uint8": digest(np.asarray(pixels)), "float32": digest(value.numpy())}


COLOUR = {"brightness": (F.adjust_brightness, 0, 2), "contrast": (F.adjust_contrast, 0, 2),
          "saturation": (F.adjust_saturation, 0, 2), "hue": (F.adjust_hue, -0.5, 0.5)}


def colour_record(image, rng):
    """The four adjustments of colour jitter in a random order, then grey: a digest after each."""
    steps = []
    for name in rng.permutation(list(COLOUR)):
        adjust, least, most = COLOUR[name]
        factor = float(rng.uniform(least, most))
        image = adjust(image, factor)
        steps.append([str(name), factor, digest(np.asarray(image))])
    image = F.rgb_to_grayscale(image, num_output_channels=3)
    return {"kind": "colour", "steps": steps + [["grey", 0.0, digest(np.asarray(image))]]}


def records(image, rng, sizes):
    out = [resize_record(image, rng) for _ in range(3)] + [resize_record(image, rng, True)]
    mode = rng.choice(["shortest", "longest", "squash"])
    family = rng.choice(list(FAMILIES))
    for size in sizes:
        record = eval_record(image, rng, str(mode), size, str(family))
        out += [record] if record else []
    return out


def crop_distribution(width, height, scale):
    """Points of the distribution functions of torchvision's random crop: [value, share <= value]."""
    torch.manual_seed(1)
    blank = Image.new("L", (width, height))
    draws = [RandomResizedCrop.get_params(blank, scale, [3 / 4, 4 / 3]) for _ in range(20000)]
    top, left, h, w = np.array(draws, np.float64).T
    points = {}
    for name, values in {"area": w * h, "aspect": w / h, "left": left, "top": top}.items():
        at = np.unique(np.quantile(values, np.linspace(0.04, 0.96, 24), method="lower"))
        points[name] = [[float(v), float((values <= v).mean())] for v in at]
    return {"width": width, "height": height, "scale": scale, "draws": len(draws)} | points


def damaged(data, rng, count):
    """Truncations at every twentieth, then single flipped bits."""
    for i in range(20):
        yield f"cut{i:02d}", data[: len(data) * i // 20]
    for i in range(count):
        at = int(rng.integers(0, len(data)))
        bad = bytearray(data)
        bad[at] ^= 1 << int(rng.integers(0, 8))
        yield f"flip{i:02d}", bytes(bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--live", type=int, metavar="SEED")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Palette images with Transparency")
    args.out.mkdir(parents=True, exist_ok=True)
    live = args.live is not None
    rng = np.random.default_rng(args.live if live else 20251125)
    limit = 180 if live else 44

    def size():
        return int(rng.integers(1, limit)) if rng.random() < 0.9 else int(rng.integers(1, 8))

    made = dict(png_files(rng, size)) | dict(pillow_files(rng, size))
    if live:
        for i in range(40):
            pixels = picture(rng, int(rng.integers(1, 500)), int(rng.integers(1, 500)))
            made[f"random-{i:02d}.png"] = saved(Image.fromarray(pixels), "PNG", compress_level=1)
        pixels = picture(rng, 7000, 3)  # more than 256 taps: past the vector code
        made["random-wide.png"] = saved(Image.fromarray(pixels), "PNG")
        made["random-tall.png"] = saved(Image.fromarray(pixels.swapaxes(0, 1).copy()), "PNG")
    for name, data in made.items():
        (args.out / name).write_bytes(data)
    expected = []
    for path in sorted(args.out.iterdir()):
        if path.suffix not in (".jpg", ".png", ".webp"):
            continue
        data = path.read_bytes()
        image = decode(data)
        entry = {"file": path.name, "decoded": None, "records": []}
        if image is not None:
            entry |= {"width": image.width, "height": image.height,
                      "decoded": digest(np.asarray(image))}
            sizes = [[int(rng.integers(1, 97))] * 2,
                     [int(rng.integers(1, 97)), int(rng.integers(1, 97))]]
            sizes += [[224, 224]] if live else []
            entry["records"] = records(image, rng, sizes)
            entry["records"].append(colour_record(image, np.random.default_rng(len(data))))
        if live and not path.name.startswith("random"):
            entry["damaged"] = []
            for name, bad in damaged(data, rng, 30):
                result = decode(bad)
                (args.out / f"{path.name}.{name}").write_bytes(bad)
                entry["damaged"].append(
                    {"file": f"{path.name}.{name}",
                     "decoded": None if result is None else digest(np.asarray(result))})
        expected.append(entry)
    versions = {"pillow": PIL.__version__, "torchvision": torchvision.__version__,
                "torch": torch.__version__}
    result = {"versions": versions, "images": expected}
    if not live:
        result["crops"] = [crop_distribution(640, 480, [0.9, 1.0]),
                           crop_distribution(500, 333, [0.08, 1.0]),
                           crop_distribution(300, 500, [0.9, 1.0])]
    text = json.dumps(result, indent=None if live else 1)
    (args.out / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
