"""Fails on an include that points up the layers, and on torch headers below the ops layer.

  check_layers.py [ROOT]
"""

import re
import sys
from pathlib import Path

# Folder -> layer. A file may include its own folder and folders of lower layers; io folders may
# include each other only where listed.
LAYERS = {
    "core": 1,
    "kernels": 2, "log": 2, "config": 2, "stats": 2, "report": 2, "plan": 2,
    "image": 3, "text": 3, "dist": 3, "data": 3,
    "ops": 4,
    "model": 5, "loss": 5, "optim": 5,
    "eval": 6, "formats": 6,
    "train": 7,
    "cmd": 8,
}
SIDEWAYS = {("data", "image"), ("data", "text"),  # the loader decodes and tokenizes
            ("report", "stats"),                  # the report draws fits
            ("optim", "model")}                   # NamedTensors of plumbline/model.h
PUBLIC = {  # header of include/plumbline -> the folder that implements it
    "error": "core", "handle": "core", "span": "core", "bad_sample": "core", "version": "core",
    "communicator": "dist", "image": "image", "tokenizer": "text", "data": "data",
    "stats": "stats", "model": "model", "loss": "loss", "optim": "optim", "train": "train",
    "eval": "eval", "eval_suite": "eval", "report": "report",
}
TORCH_FROM = LAYERS["ops"]
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]')


def target_folder(include):
    """The folder an include path belongs to, or None for foreign headers."""
    parts = include.split("/")
    if parts[0] == "plumbline":
        return PUBLIC.get(Path(include).stem, f"?{include}")
    return parts[0] if parts[0] in LAYERS and len(parts) > 1 else None


def problems(root):
    for path in sorted([*(root / "src").rglob("*"), *(root / "kernels").rglob("*"),
                        *(root / "include").rglob("*.h")]):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        relative = path.relative_to(root)
        if relative.parts[0] == "src":
            folder = relative.parts[1]
        elif relative.parts[0] == "kernels":
            folder = "kernels"
        else:
            folder = PUBLIC.get(path.stem, "?")
        if folder not in LAYERS:
            yield f"{relative}: the folder of this file has no layer in tests/check_layers.py"
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            include = match.group(1)
            if re.match(r"(torch|ATen|c10)/", include) and LAYERS[folder] < TORCH_FROM:
                yield f"{relative}:{number}: torch header below the ops layer: {include}"
            to = target_folder(include)
            if to is None or to == folder:
                continue
            if to not in LAYERS:
                yield f"{relative}:{number}: {include} has no layer in tests/check_layers.py"
            elif LAYERS[to] >= LAYERS[folder] and (folder, to) not in SIDEWAYS:
                yield f"{relative}:{number}: {folder} (layer {LAYERS[folder]}) must not include " \
                      f"{to} (layer {LAYERS[to]}): {include}"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) or "includes point down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
