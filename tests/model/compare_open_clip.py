"""Compares a file that live_test wrote with OpenCLIP itself; exit 1 and a list on any difference.

    compare_open_clip.py features FILE   weights, features and gradients of one model
    compare_open_clip.py init FILE       distributions of fresh weights
    compare_open_clip.py configs FILE    names and shapes of every bundled configuration
"""
import json
import math
import pathlib
import re
import sys

import open_clip
import torch
from safetensors import safe_open

FAILURES = []


def check(condition, *message):
    if not condition:
        FAILURES.append(" ".join(str(part) for part in message))


def build(cfg):
    cfg = json.loads(json.dumps(cfg))
    custom = cfg.pop("custom_text", False)
    return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**cfg)


def read(path):
    with safe_open(path, framework="pt") as f:
        return {key: f.get_tensor(key) for key in f.keys()}, f.metadata()


def relative(ours, theirs, whole):
    return ((ours - theirs).norm() / (theirs.norm() + 1e-3 * whole)).item()


def compare_features(path):
    """The weights are loaded strictly, as a user would load a checkpoint of ours."""
    tensors, metadata = read(path)
    state = {k[len("state."):]: v for k, v in tensors.items() if k.startswith("state.")}
    model = build(json.loads(metadata["config"]))
    check(list(model.state_dict()) == metadata["names"].split("\n"), "names or their order")
    double = tensors["image"].dtype == torch.float64
    model = (model.double() if double else model).train(metadata["mode"] == "train")
    model.load_state_dict(state, strict=True)
    with torch.set_grad_enabled(double):
        image = model.encode_image(tensors["pixels"], normalize=True)
        text = model.encode_text(tensors["tokens"], normalize=True)
    bound = 1e-12 if double else 2e-6
    for name, theirs in (("image", image), ("text", text)):
        worst = (tensors[name] - theirs).abs().max().item()
        check(worst < bound, name, "features differ by", worst)
    if not double:
        return
    loss = (image * tensors["direction_image"]).sum() + (text * tensors["direction_text"]).sum()
    loss.backward()
    parameters = {k: p for k, p in model.named_parameters() if p.grad is not None}
    whole = math.sqrt(sum(p.grad.square().sum().item() for p in parameters.values()))
    for key, parameter in parameters.items():
        error = relative(tensors["gradient." + key], parameter.grad, whole)
        check(error < 1e-10, "gradient of", key, "differs by", error)


def moments(x):
    x = x.double().flatten()
    mean = x.mean()
    variance = (x - mean).square().mean()
    fourth = (x - mean).pow(4).mean()
    return mean.item(), variance.item(), fourth.item()


def compare_init(path):
    """Means and variances within 5 standard errors of OpenCLIP's own draw; equal where constant."""
    tensors, metadata = read(path)
    torch.manual_seed(1)
    for key, theirs in build(json.loads(metadata["config"])).state_dict().items():
        ours = tensors["state." + key]
        n = theirs.numel()
        (m0, v0, f0), (m1, v1, _) = moments(theirs), moments(ours)
        if v0 == 0:
            check(torch.equal(ours, theirs), key, "is not the constant", theirs.flatten()[0].item())
            continue
        check(abs(m0 - m1) < 5 * math.sqrt(2 * v0 / n), key, "has mean", m1, "not", m0)
        spread = max(f0 - v0 * v0, 0.8 * v0 * v0)
        check(abs(v0 - v1) < 5 * math.sqrt(2 * spread / n), key, "has variance", v1, "not", v0)
        flat = f0 / v0**2 < 2.4
        if n > 2000:
            bound = math.sqrt(3 * v0) * 1.05
            check((ours.abs().max().item() < bound) == flat, key, "is not",
                  "uniform" if flat else "normal")


def compare_configs(path):
    """Each bundled file builds with OpenCLIP's names and shapes, or is refused by name."""
    ours = json.loads(pathlib.Path(path).read_text())
    folder = pathlib.Path(open_clip.__file__).parent / "model_configs"
    built = 0
    for file in sorted(folder.glob("*.json")):
        answer = ours[file.stem]
        if "refused" in answer:
            check(str(file) in answer["refused"], "refusal does not name", file)
            continue
        built += 1
        with torch.device("meta"):
            model = build(json.loads(file.read_text()))
        theirs = [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]
        check(answer["tensors"] == theirs, file.stem, "has other names, order or shapes")
    check(built == 81, built, "configurations were built, not 81")
    compare_refusals({name: a["refused"] for name, a in ours.items() if "refused" in a})


def compare_refusals(refused):
    """The table of docs/reference/parity.md: rows of | what the message holds | names | count |."""
    page = pathlib.Path("docs/reference/parity.md").read_text()
    section = page.partition("## Refused configurations\n")[2].partition("\n## ")[0]
    listed = {}
    for holds, names, count in re.findall(r"^\| `(.+?)` \| (.+) \| (\d+) \|$", section, re.M):
        names = re.findall(r"`(.+?)`", names)
        check(len(names) == int(count), "parity.md counts", count, "for", holds, "not", len(names))
        listed |= dict.fromkeys(names, holds)
    for name, message in sorted(refused.items()):
        check(listed.get(name, "\0") in message, "parity.md has", listed.get(name), "for", name,
              "which is refused with:", message)
    for name in sorted(set(listed) - set(refused)):
        check(False, "parity.md lists", name, "which is not refused")


def main():
    if open_clip.__version__ != "3.3.0" or not torch.__version__.startswith("2.11.0"):
        sys.exit(f"wants open_clip 3.3.0 and torch 2.11.0, found {open_clip.__version__}, "
                 f"{torch.__version__}")
    torch.backends.mha.set_fastpath_enabled(False)
    torch.set_num_threads(2)
    kind, path = sys.argv[1:]
    {"features": compare_features, "init": compare_init, "configs": compare_configs}[kind](path)
    for failure in FAILURES:
        print(failure)
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
