"""OpenCLIP's own training loop (open_clip_train.train.train_one_epoch) over given batches.

Importing this raises ImportError where the Python environment has no OpenCLIP.
"""

from types import SimpleNamespace

import open_clip
import torch
from open_clip.loss import ClipLoss, SigLipLoss
from open_clip_train.scheduler import const_lr, const_lr_cooldown, cosine_lr
from open_clip_train.train import train_one_epoch

REFERENCE = "3.3.0"
if open_clip.__version__ != REFERENCE:
    raise RuntimeError(f"wants open_clip {REFERENCE}, found {open_clip.__version__}")


class Parts(torch.nn.Module):
    """The model on equal parts of each batch: what several ranks with batch norm of their own see."""

    def __init__(self, model, parts):
        super().__init__()
        self.module, self.parts = model, parts

    def forward(self, images, texts):
        outs = [self.module(i, t) for i, t in zip(images.chunk(self.parts), texts.chunk(self.parts))]
        joined = {name: torch.cat([out[name] for out in outs])
                  for name in ("image_features", "text_features")}
        return {**outs[0], **joined}


class Recorder:
    """Stands in for the SummaryWriter: what the loop logs, a list a name."""

    def __init__(self):
        self.logged = {}

    def add_scalar(self, name, value, step):
        self.logged.setdefault(name.removeprefix("train/"), []).append(value)


def is_excluded(rule, name, parameter):
    """No weight decay: the lambda of open_clip_train/main.py, and what OpenCLIP 4 adds to it."""
    if (parameter.ndim < 2 or "bn" in name or "ln" in name or "bias" in name
            or "logit_scale" in name):
        return True
    return rule == "openclip4" and name.removeprefix("module.") in (
        "positional_embedding", "visual.positional_embedding", "visual.class_embedding")


def make_optimizer(model, o):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    rule = o.get("decay_rule", "openclip3")
    groups = [{"params": [p for n, p in named if is_excluded(rule, n, p)], "weight_decay": 0.0},
              {"params": [p for n, p in named if not is_excluded(rule, n, p)],
               "weight_decay": o["weight_decay"]}]
    return torch.optim.AdamW(groups, lr=o["lr"], betas=tuple(o["betas"]), eps=o["eps"])


def make_schedule(optimizer, lr, s, steps):
    if s["kind"] == "cosine":
        return cosine_lr(optimizer, lr, s["warmup_steps"], steps)
    if s["kind"] == "constant":
        return const_lr(optimizer, lr, s["warmup_steps"], steps)
    return const_lr_cooldown(optimizer, lr, s["warmup_steps"], steps, s["cooldown_steps"],
                             s.get("cooldown_power", 1.0), s.get("cooldown_end_lr", 0.0))


def make_loss(kind):
    return (ClipLoss if kind == "clip" else SigLipLoss)(rank=0, world_size=1)


def train(model, batches, recipe, parts=1):
    """One epoch over `batches`, a list of (pixels, tokens).

    recipe: the sections `loss`, `optimizer` and `schedule` of a run file.
    Returns lists with an entry a step: loss; scale, exponentiated and before the update; lr.
    """
    model.output_dict = True
    trained = Parts(model, parts) if parts > 1 else model
    optimizer = make_optimizer(trained, recipe["optimizer"])
    schedule = make_schedule(optimizer, recipe["optimizer"]["lr"], recipe["schedule"], len(batches))
    args = SimpleNamespace(
        device="cpu", precision="fp32", distill=False, accum_freq=1, skip_scheduler=False,
        horovod=False, grad_clip_norm=recipe["optimizer"].get("clip_norm"), log_every_n_steps=1,
        world_size=1, rank=0, batch_size=len(batches[0][0]), wandb=False)

    class Loader(list):
        num_batches = len(batches)
        num_samples = len(batches) * args.batch_size

    data = {"train": SimpleNamespace(dataloader=Loader(batches), set_epoch=lambda epoch: None)}
    recorder = Recorder()
    train_one_epoch(trained, data, make_loss(recipe["loss"]["kind"]), 0, optimizer, None, schedule,
                    None, args, recorder)
    return {name: recorder.logged[name] for name in ("loss", "scale", "lr")}
