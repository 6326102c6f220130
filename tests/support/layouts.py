"""Every test set layout that `evaluate` reads, in miniature, as its publisher lays it out.

Each function writes one set below a folder and returns what the set holds: a list of
(key, path or bytes, target). Twelve classes stand for ImageNet's thousand; assets() writes their
lists, so that the program takes the miniature for the whole.
"""

import io
import json
import tarfile

import numpy as np
from PIL import Image

CLASSES = 12
NAMES = ["tench", "sea lion", "iPod", "hot pot", "bow tie", "alarm clock", "oil lamp", "desk chair",
         "rocking chair", "violin", "red fox", "daisy"]
WNIDS = [f"n{1000 + 37 * i:08d}" for i in range(CLASSES)]
IN_R, IN_A = [1, 3, 4, 9], [3, 4, 8]  # places among the twelve
# Folder -> (label, classes of ImageNet); "mug" is no class of ImageNet.
OBJECTNET = {"tie": ("Neck tie", [4]), "clock": ("Alarm clock", [5]), "chair": ("Chair", [7, 8]),
             "mug": ("Mug", [])}


def picture(seed, target, border=0):
    """Stripes of the class's colour, and noise; any shape."""
    rng = np.random.default_rng(1000 * target + seed)
    height, width = (int(v) for v in rng.integers(24, 60, 2))
    hue = 2 * np.pi * target / 13
    colour = 128 + 100 * np.cos(hue + np.arange(3) * 2.1)
    stripes = np.sin(np.arange(width) * (0.2 + 0.1 * target))[None, :, None] * 40
    pixels = colour[None, None] + stripes + rng.normal(0, 30, (height, width, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if border:
        pixels[:border], pixels[-border:], pixels[:, :border], pixels[:, -border:] = (255, 0, 0), \
            (255, 0, 0), (255, 0, 0), (255, 0, 0)
    return Image.fromarray(pixels)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def assets(folder, vocabulary):
    """The program's lists for the twelve classes; `vocabulary` is the real one."""
    write(folder / "imagenet_wnids.txt", "".join(f"{w}\n" for w in WNIDS))
    write(folder / "imagenet_classnames.txt", "".join(f"{n}\n" for n in NAMES))
    write(folder / "imagenet_r_wnids.txt", "".join(f"{WNIDS[i]}\n" for i in IN_R))
    write(folder / "imagenet_a_wnids.txt", "".join(f"{WNIDS[i]}\n" for i in IN_A))
    write(folder / "templates/simple.txt", "itap of a {c}.\nart of the {c}.\n")
    write(folder / "templates/openai80.txt", "a bad photo of a {c}.\na {c} in a video game.\n")
    (folder / vocabulary.name).symlink_to(vocabulary)


def by_class(root, folders, targets, images, suffix, **options):
    """`images` pictures a folder; keys FOLDER/FILE in bytewise order of both."""
    items = []
    for folder, target in zip(folders, targets):
        for i in range(images):
            key = f"{folder}/x_{i}{suffix}"
            save(picture(i, target), root / key, **options)
            items.append((key, root / key, target))
    return items


def imagenet(root):
    return by_class(root / "val", WNIDS, range(CLASSES), 2, ".JPEG", format="JPEG", quality=95)


def imagenetv2(root, variant):
    """Folders are class numbers, which sort as numbers: 2 before 10."""
    images = 1 + len(variant) % 2
    return by_class(root, [str(i) for i in range(CLASSES)], range(CLASSES), images, ".jpeg",
                    format="JPEG", quality=90)


def sketch(root):
    return by_class(root / "sketch", WNIDS, range(CLASSES), 1, ".JPEG", format="JPEG")


def subset(root, places):
    """ImageNet-R or -A: their own wnids, targets counted among them, a README beside."""
    items = by_class(root, [WNIDS[i] for i in places], range(len(places)), 2, ".jpg", format="JPEG")
    write(root / "README.txt", "About this data set.\n")
    return items


def objectnet(root):
    """The release: images with a red border, and its mappings. Classes by lower-case label."""
    labels = sorted((folder for folder, (_, of) in OBJECTNET.items() if of))
    items = []
    for folder in sorted(OBJECTNET):
        for i in range(3):
            path = root / "images" / folder / f"{i}.png"
            save(picture(i, 3 * i + len(folder), border=2), path)
            if folder in labels:
                items.append((f"{folder}/{i}.png", path, labels.index(folder)))
    maps = root / "mappings"
    write(maps / "folder_to_objectnet_label.json",
          json.dumps({folder: label for folder, (label, _) in OBJECTNET.items()}))
    write(maps / "objectnet_to_imagenet_1k.json", json.dumps(
        {label: "; ".join(NAMES[i] for i in of) for label, of in OBJECTNET.values() if of}))
    write(maps / "imagenet_to_label_2012_v2", "".join(f"{name}\n" for name in NAMES))
    write(maps / "pytorch_to_imagenet_2012_id.json",
          json.dumps({str(i): i for i in range(CLASSES)}))
    return items


CAMERAS = ["Empty", "Ocelot", "White-Lipped Peccary", "Puma", "Tapir", "Agouti"]


def iwildcam(root, split="test"):
    """metadata.csv holds every split, train/ every picture. Class 3 is never a target of test."""
    rows, items = ["split,location_remapped,y,filename"], []
    for i in range(24):
        row_split = ["train", "test", "test", "id_val"][i % 4]
        y = [0, 0, 1, 2, 5][i % 5]
        name = f"{i:04x}.jpg"
        save(picture(i, y), root / "train" / name, format="JPEG")
        rows.append(f"{row_split},{i % 7},{y},{name}")
        if row_split == split:
            items.append((name, root / "train" / name, y))
    write(root / "metadata.csv", "\n".join(rows) + "\n")
    return items


LAND = ["airport", "crop_field", "oil_or_gas_facility", "zoo"]
COUNTRIES = {"FRA": "Europe", "KOR": "Asia", "BRA": "Americas"}


def fmow(root):
    """Rows name the pictures before the split `seq` is dropped. Also region and year of each item."""
    write(root / "country_code_mapping.csv", "name,alpha-2,alpha-3,region\nFrance,FR,FRA,Europe\n"
          '"Korea, Republic of",KR,KOR,Asia\nBrazil,BR,BRA,Americas\n')
    rows, items = ["split,category,timestamp,country_code"], []
    for i in range(40):
        split = ["test", "seq", "test", "train", "test"][i % 5]
        year = [2016, 2017, 2016, 2015][i % 4]
        country = ["FRA", "KOR", "XXX", "BRA"][(i // 3) % 4]
        target = (i * 7) % len(LAND)
        rows.append(f"{split},{LAND[target]},{year}-03-05T10:11:12Z,{country}")
        path = root / "images" / f"rgb_img_{i}.png"
        save(picture(i, target), path)
        if split == "test" and year >= 2016:
            items.append((path.name, path, target, COUNTRIES.get(country, "Other"), year))
    write(root / "rgb_metadata.csv", "\n".join(rows) + "\n")
    return items


def add_members(tar, members):
    for name, data in members:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def encode(image):
    out = io.BytesIO()
    image.save(out, "WEBP", lossless=True)
    return out.getvalue()


def webdataset(root, names, per_split):
    """CLIP_benchmark's folder with lossless WebP, two shards a split; per_split: {split: images}."""
    write(root / "classnames.txt", "".join(f"{name}\n" for name in names))
    write(root / "zeroshot_classification_templates.txt", "a {c}\na drawing of a {c}\n")
    found = {}
    for split, images in per_split.items():
        found[split] = []
        write(root / split / "nshards.txt", "2\n")
        for shard in range(2):
            with tarfile.open(root / split / f"{shard}.tar", "w") as tar:
                for i in range(shard * images // 2, (shard + 1) * images // 2):
                    target, key = (5 * i) % len(names), f"s{i:07d}"
                    data = encode(picture(i + 77 * len(split), target))
                    add_members(tar, [(f"{key}.cls", str(target).encode()), (f"{key}.webp", data)])
                    found[split].append((key, data, target))
    return found


def multilabel(root, names):
    """A multi-hot vector an image, as numpy writes it. Returns (key, bytes, vector); the last class
    has no image."""
    write(root / "dataset_type.txt", "multilabel\n")
    write(root / "classnames.txt", "".join(f"{name}\n" for name in names))
    write(root / "test" / "nshards.txt", "1\n")
    items = []
    with tarfile.open(root / "test" / "0.tar", "w") as tar:
        for i in range(17):
            hot = np.array([(i + c) % 3 == 0 and c + 1 < len(names) for c in range(len(names))], np.int64)
            data, key, label = encode(picture(i, i % CLASSES)), f"s{i:07d}", io.BytesIO()
            np.save(label, hot)
            add_members(tar, [(f"{key}.npy", label.getvalue()), (f"{key}.webp", data)])
            items.append((key, data, hot))
    return items


def retrieval(root):
    """One to three captions an image. Returns (key, bytes, captions)."""
    write(root / "dataset_type.txt", "retrieval\n")
    write(root / "test" / "nshards.txt", "1\n")
    items = []
    with tarfile.open(root / "test" / "0.tar", "w") as tar:
        for i in range(13):
            captions = [f"a {NAMES[i % CLASSES]} number {i}", f"picture {i}", f"{i} stripes"][:1 + i % 3]
            data, key = encode(picture(i, i % CLASSES)), f"s{i:07d}"
            add_members(tar, [(f"{key}.webp", data), (f"{key}.txt", "\n".join(captions).encode())])
            items.append((key, data, captions))
    return items
