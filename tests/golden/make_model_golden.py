"""Writes model_*.safetensors beside itself: features and gradients of OpenCLIP's towers.

    .venv/bin/python tests/golden/make_model_golden.py

Weights are not stored: both sides compute them from the tensors' names (`fill`). Each file holds
tokens, features in eval and train mode and, a parameter each, the norm of the gradient of
sum(image_features * a) + sum(text_features * b) and its product with a filled direction; all in
float64. The metadata hold the configuration and the versions.
"""
import importlib.metadata
import json
import math
import pathlib

import numpy as np
import open_clip
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

ROWS = 4
TEXT = {"context_length": 16, "vocab_size": 512, "width": 64, "heads": 2, "layers": 2}
VISION = {"image_size": 64, "patch_size": 16, "width": 64, "head_width": 32, "layers": 2}
CONFIGS = {
    "vit": {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT},
    "vit_quick_scale": {
        "embed_dim": 48, "quick_gelu": True, "init_logit_bias": -10,
        "vision_cfg": {**VISION, "ls_init_value": 0.1, "mlp_ratio": 2.7},
        "text_cfg": {**TEXT, "ls_init_value": 0.1, "pool_type": "eos", "eos_id": 7}},
    "vit_average_custom": {
        "embed_dim": 48, "custom_text": True, "nonscalar_logit_scale": True,
        "vision_cfg": {**VISION, "image_size": [64, 48], "patch_size": 14, "no_ln_pre": True,
                       "pool_type": "avg", "final_ln_after_pool": True},
        "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
                     "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"}}},
    "vit_average_none": {
        "embed_dim": 64, "vision_cfg": {**VISION, "pool_type": "avg"},
        "text_cfg": {**TEXT, "proj_type": "none", "pool_type": "first"}},
    "rn": {"embed_dim": 48,
           "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
           "text_cfg": {**TEXT, "proj_bias": True}},
}


def hash_name(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    return h


def unit(name, count):
    """Uniform in [0, 1): the upper 24 bits of splitmix64(fnv1a64(name) + i)."""
    with np.errstate(over="ignore"):
        z = np.uint64(hash_name(name)) + np.arange(count, dtype=np.uint64)
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-24


def fill(name, shape):
    count = int(np.prod(shape, dtype=np.int64))
    u = unit(name, count)
    r = 2 * u - 1
    if name.endswith("logit_scale"):
        values = np.full(count, math.log(1 / 0.07))
    elif name.endswith("logit_bias"):
        values = np.full(count, -10.0)
    elif name.endswith("num_batches_tracked"):
        values = np.zeros(count)
    elif name.endswith("running_var"):
        values = 1 + 0.5 * u
    elif any(part in name for part in ("embedding", "pos_embed", "latent")):
        values = 0.05 * r
    elif len(shape) == 1:
        values = 1 + 0.1 * r if name.endswith(("weight", "gamma")) else 0.1 * r
        if ".layer" in name and name.endswith("bn3.weight"):
            values = 0.1 * values
    else:
        own = name.endswith("text_projection") or name == "visual.proj"
        fan_in = shape[0] if own else count // shape[0]
        values = math.sqrt(3 / fan_in) * r
    return torch.from_numpy(values.reshape(shape))


def tokens():
    """Rows of several lengths: 510, ids, 511, zeros. The last has neither the eos 7 nor a 511."""
    rows = torch.zeros(ROWS, TEXT["context_length"], dtype=torch.int64)
    for b, length in enumerate([3, 14, 7, 9]):
        ids = (unit(f"tokens.{b}", length) * 400).astype(np.int64) + 10
        rows[b, 0] = 510
        rows[b, 1:1 + length] = torch.from_numpy(ids)
        rows[b, 1 + length] = 511
    rows[1, 4] = rows[2, 6] = 7
    rows[3] = rows[3].clamp(max=400)
    return rows


class SiglipTower(torch.nn.Module):
    """The trunk that OpenCLIP takes from timm, at a size that no name of timm's has."""

    def __init__(self):
        super().__init__()
        self.trunk = VisionTransformer(
            img_size=64, patch_size=16, embed_dim=64, depth=2, num_heads=2, mlp_ratio=3.7362,
            class_token=False, global_pool="map", num_classes=0)

    def forward(self, x):
        return self.trunk(x)


def build(name):
    if name != "siglip":
        cfg = json.loads(json.dumps(CONFIGS[name]))
        custom = cfg.pop("custom_text", False)
        return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**cfg), CONFIGS[name]
    cfg = {"embed_dim": 64, "custom_text": True, "init_logit_bias": -10, "vision_cfg": VISION,
           "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}}
    plain = {key: value for key, value in cfg.items() if key != "custom_text"}
    model = open_clip.CustomTextCLIP(**json.loads(json.dumps(plain)))
    model.visual = SiglipTower()
    return model, cfg


def reseed(model):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(fill(name, tuple(tensor.shape)))


def image_size(cfg):
    size = cfg["vision_cfg"]["image_size"]
    return size if isinstance(size, list) else [size, size]


def compute(name):
    torch.manual_seed(0)
    model, cfg = build(name)
    model = model.double()
    reseed(model)
    pixels = 2 * (2 * torch.from_numpy(unit("pixels", ROWS * 3 * math.prod(image_size(cfg)))) - 1)
    pixels = pixels.reshape(ROWS, 3, *image_size(cfg))
    out = {"tokens": tokens()}
    with torch.no_grad():
        model.eval()
        out["eval.image"] = model.encode_image(pixels)
        out["eval.text"] = model.encode_text(tokens())
    model.train()
    image = model.encode_image(pixels, normalize=True)
    text = model.encode_text(tokens(), normalize=True)
    out["train.image"], out["train.text"] = image.detach(), text.detach()
    a, b = (torch.from_numpy(2 * unit(n, image.numel()) - 1).reshape(image.shape)
            for n in ("direction.image", "direction.text"))
    ((image * a).sum() + (text * b).sum()).backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        direction = torch.from_numpy(2 * unit("gradient." + key, parameter.numel()) - 1)
        out["gradient." + key] = torch.stack(
            [parameter.grad.norm(), (parameter.grad.flatten() * direction).sum()])
    for key, buffer in model.named_buffers():
        if "running" in key:
            out["buffer." + key] = buffer.detach().clone()
    # Also the order of the state dict, which a safetensors header loses.
    names = "\n".join(model.state_dict())
    return {k: v.detach().contiguous() for k, v in out.items()}, cfg, names


def main():
    torch.backends.mha.set_fastpath_enabled(False)
    torch.set_num_threads(1)
    versions = {p: importlib.metadata.version(p) for p in ("torch", "open_clip_torch", "timm")}
    folder = pathlib.Path(__file__).resolve().parent
    for name in [*CONFIGS, "siglip"]:
        tensors, cfg, names = compute(name)
        metadata = {"config": json.dumps(cfg), "names": names, **versions}
        save_file(tensors, folder / f"model_{name}.safetensors", metadata)


if __name__ == "__main__":
    main()
