"""Copies what plumbline needs from the installed Python packages into a folder.

  make_assets.py OUT

bpe_simple_vocab_16e6.txt.gz     CLIP vocabulary                 (open_clip_torch)
imagenet_classnames.txt          1000 names, line i = class i    (open_clip_torch)
imagenet_wnids.txt               WordNet ids in index order      (timm)
imagenet_r_wnids.txt, imagenet_a_wnids.txt                       (timm)
templates/openai80.txt, templates/simple.txt   `{c}` stands for the class name
plotly.min.js                    for the report                  (plotly)
"""

import hashlib
import re
import shutil
import sys
from pathlib import Path

import importlib.util

VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
CLASSNAMES_SHA256 = "571ae1c583b4be7da87519494c52bf405a46af05d5815627c7a0dee997068b60"


def package_folder(name):
    return Path(importlib.util.find_spec(name).origin).parent


def check(what, value, expected):
    if value != expected:
        sys.exit(f"error: make_assets: {what} has SHA-256 {value}, expected {expected}")


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    (out / "templates").mkdir(exist_ok=True)

    open_clip = package_folder("open_clip")
    vocabulary = open_clip / "bpe_simple_vocab_16e6.txt.gz"
    check("the vocabulary", hashlib.sha256(vocabulary.read_bytes()).hexdigest(), VOCABULARY_SHA256)
    shutil.copyfile(vocabulary, out / vocabulary.name)

    metadata = {}
    exec((open_clip / "zero_shot_metadata.py").read_text(), metadata)
    names = metadata["IMAGENET_CLASSNAMES"]
    check("the class names", hashlib.sha256("\n".join(names).encode()).hexdigest(),
          CLASSNAMES_SHA256)
    (out / "imagenet_classnames.txt").write_text("\n".join(names) + "\n")
    for preset, key in [("openai80", "OPENAI_IMAGENET_TEMPLATES"),
                        ("simple", "SIMPLE_IMAGENET_TEMPLATES")]:
        lines = [template("{c}") for template in metadata[key]]
        (out / "templates" / f"{preset}.txt").write_text("\n".join(lines) + "\n")

    info = package_folder("timm") / "data" / "_info"
    wnids = re.findall(r"n\d{8}", (info / "imagenet_synsets.txt").read_text())
    (out / "imagenet_wnids.txt").write_text("\n".join(wnids) + "\n")
    for variant in "ra":
        indices = [int(i) for i in (info / f"imagenet_{variant}_indices.txt").read_text().split()]
        subset = "\n".join(wnids[i] for i in indices)
        (out / f"imagenet_{variant}_wnids.txt").write_text(subset + "\n")

    plotly = package_folder("plotly") / "package_data" / "plotly.min.js"
    shutil.copyfile(plotly, out / "plotly.min.js")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
