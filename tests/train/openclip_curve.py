"""Writes a training curve of OpenCLIP's own loop in float64, for tests/train/openclip_curve_test.cpp.

    openclip_curve.py KIND FOLDER    KIND: clip | siglip | resnet

FOLDER gets model.json, run.yaml, and curve.safetensors: `start.NAME` and `end.NAME` of every tensor,
pixels [steps, batch, side, side, 3], tokens [steps, batch, length], loss [steps], and scale [steps],
exponentiated, before each update.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import open_clip_loop
import open_clip
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import save_file
from torchvision.transforms.functional import normalize

STEPS, BATCH = 20, 8
TEXT = {"context_length": 8, "vocab_size": 500, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
MODELS = {
    "clip": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT},
    "siglip": {"embed_dim": 16, "custom_text": True, "init_logit_bias": -10,
               "vision_cfg": {**VIT, "pool_type": "avg"},
               "text_cfg": {**TEXT, "pool_type": "last", "no_causal_mask": True}},
    "resnet": {"embed_dim": 16, "text_cfg": TEXT,
               "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}},
}
# The scale of `clip` starts just below the clamp with a batch that was learned before, which drives it
# up.
START_SCALE = {"clip": 4.605, "siglip": 2.302585092994046, "resnet": 2.6592}
RECIPES = {
    "clip": {"loss": {"kind": "clip"},
             "optimizer": {"lr": 1.0e-4, "betas": [0.9, 0.98], "eps": 1.0e-6, "weight_decay": 0.2},
             "schedule": {"kind": "cosine", "warmup_steps": 3}},
    "siglip": {"loss": {"kind": "siglip"},
               "optimizer": {"lr": 1.0e-3, "betas": [0.9, 0.95], "eps": 1.0e-6,
                             "weight_decay": 0.5, "decay_rule": "openclip4"},
               "schedule": {"kind": "constant", "warmup_steps": 2}},
    "resnet": {"loss": {"kind": "clip"},
               "optimizer": {"lr": 5.0e-4, "betas": [0.9, 0.999], "eps": 1.0e-8,
                             "weight_decay": 0.2},
               "schedule": {"kind": "constant_cooldown", "warmup_steps": 4, "cooldown_steps": 8}},
}


def tokens_like_captions(generator, shape):
    """Rows of start, ids, end, zeros, with other lengths."""
    tokens = torch.randint(1, 490, shape, generator=generator, dtype=torch.int32)
    ends = torch.randint(2, shape[-1], shape[:-1], generator=generator).unsqueeze(-1)
    place = torch.arange(shape[-1]).expand(shape)
    tokens[place == 0] = 498
    tokens[place == ends] = 499
    tokens[place > ends] = 0
    return tokens


def main(kind, folder):
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(3)
    side, length = MODELS[kind]["vision_cfg"]["image_size"], TEXT["context_length"]
    different = 1 if kind == "clip" else STEPS
    colours = torch.randint(0, 200, (different, BATCH, 1, 1, 3), generator=generator)
    noise = torch.randint(0, 56, (different, BATCH, side, side, 3), generator=generator)
    pixels = (colours + noise).to(torch.uint8).repeat(STEPS // different, 1, 1, 1, 1)
    tokens = tokens_like_captions(generator, (different, BATCH, length)).repeat(
        STEPS // different, 1, 1)
    (folder / "model.json").write_text(json.dumps(MODELS[kind]))
    open_clip.add_model_config(folder / "model.json")
    torch.manual_seed(11)
    model = open_clip.create_model("model").double()
    batches = [(normalize(p.permute(0, 3, 1, 2).float().div(255), OPENAI_DATASET_MEAN,
                          OPENAI_DATASET_STD).double(), t.long()) for p, t in zip(pixels, tokens)]
    if kind == "clip":
        open_clip_loop.train(model, batches, RECIPES["siglip"] | {"loss": {"kind": "clip"}})
    model.logit_scale.data.fill_(START_SCALE[kind])
    tensors = {"start." + n: t.clone() for n, t in model.state_dict().items()}
    curve = open_clip_loop.train(model, batches, RECIPES[kind])
    if kind == "clip" and max(curve["scale"]) < 99.9999999:
        sys.exit(f"the scale never met its clamp: {curve['scale']}")
    tensors |= {"end." + n: t for n, t in model.state_dict().items()}
    tensors |= {"pixels": pixels, "tokens": tokens,
                "loss": torch.tensor(curve["loss"], dtype=torch.float64),
                "scale": torch.tensor(curve["scale"], dtype=torch.float64)}
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "curve.safetensors")
    run = {"model": {"name": str(folder / "model.json")},
           "data": {"sources": [{"name": "none", "synthetic": {"kind": "pixels", "samples": 64}}]},
           "train": {"global_batch": BATCH, "steps": STEPS, "device": "cpu"}, **RECIPES[kind]}
    (folder / "run.yaml").write_text(json.dumps(run))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
