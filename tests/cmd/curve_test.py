"""Training curves against OpenCLIP's own loop: the same weights, batches, schedule and optimizer.

The program reads shards; the peer gets the keys of each batch from `plumbline data order`, decodes
with Pillow and torchvision, and tokenizes with OpenCLIP.
"""

import io
import json
import os
import random
import sys
import tarfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest

try:
    import numpy as np
    import open_clip
    import open_clip_loop
    import torch
    from open_clip.transform import image_transform
    from PIL import Image
    from safetensors.torch import load_file, save_file
except ImportError as error:
    open_clip_loop, MISSING = None, str(error)
else:
    MISSING = ""

SAMPLES, BATCH = 160, 16
WORDS = ("a photo of the red blue green cat dog house bridge tree in on near old Small café naïve "
         "猫 кошка 3 1984 don't it's AT&amp;T &lt;b&gt; schÃ¶n — “quoted” 🐈").split()

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
MODELS = {
    "clip": {"embed_dim": 32, "quick_gelu": True, "text_cfg": TEXT,
             "vision_cfg": {"image_size": 48, "patch_size": 8, "width": 64, "head_width": 32,
                            "layers": 2}},
    "siglip": {"embed_dim": 32, "custom_text": True, "init_logit_bias": -10,
               "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last",
                            "proj_bias": True, "act_kwargs": {"approximate": "tanh"}},
               "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "head_width": 32,
                              "layers": 2, "no_ln_pre": True, "pool_type": "avg",
                              "final_ln_after_pool": True, "ls_init_value": 0.1}},
    "resnet": {"embed_dim": 32, "text_cfg": TEXT,
               "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}},
}
RECIPES = {
    "clip": {"loss": {"kind": "clip"}, "train": {"steps": 50},
             "optimizer": {"lr": 2.0e-3, "betas": [0.9, 0.98], "eps": 1.0e-6, "weight_decay": 0.2,
                           "clip_norm": 1.0},
             "schedule": {"kind": "cosine", "warmup_steps": 10}},
    "siglip": {"loss": {"kind": "siglip"}, "train": {"steps": 50},
               "optimizer": {"lr": 1.0e-3, "betas": [0.9, 0.95], "eps": 1.0e-6,
                             "weight_decay": 0.5, "decay_rule": "openclip4"},
               "schedule": {"kind": "constant_cooldown", "warmup_steps": 5, "cooldown_steps": 15,
                            "cooldown_power": 2.0, "cooldown_end_lr": 1.0e-5}},
    "resnet": {"loss": {"kind": "clip"}, "train": {"steps": 20},
               "optimizer": {"lr": 3.0e-4, "betas": [0.9, 0.999], "eps": 1.0e-8,
                             "weight_decay": 0.2},
               "schedule": {"kind": "constant", "warmup_steps": 4}},
}


def picture(rng, number):
    """Waves whose colours depend on the number, in any shape; JPEG, some of them grey."""
    width, height = int(rng.integers(20, 150)), int(rng.integers(20, 150))
    y, x = np.mgrid[0:height, 0:width] / 20.0
    planes = [128 + 100 * np.sin(x * (1 + number % 3) + y * (1 + c) + number * (c + 1))
              for c in range(3)]
    image = Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    out = io.BytesIO()
    (image.convert("L") if number % 10 == 9 else image).save(out, "JPEG", quality=88)
    return out.getvalue()


@unittest.skipIf(MISSING, MISSING)
class Curve(ProgramTest):
    def setUp(self):
        super().setUp()
        torch.set_num_threads(1)
        words, rng = random.Random(5), np.random.default_rng(5)
        self.samples = {}
        with tarfile.open(self.folder / "shard-0.tar", "w") as shard:
            for number in range(SAMPLES):
                key = f"{number:05d}"
                self.samples[key] = (picture(rng, number),
                                     " ".join(words.choices(WORDS, k=words.randrange(1, 20))))
                jpeg, caption = self.samples[key]
                for name, content in (("jpg", jpeg), ("txt", caption.encode())):
                    member = tarfile.TarInfo(f"{key}.{name}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))

    def start(self, kind):
        """Writes model, weights and run file; returns OpenCLIP's model."""
        (self.folder / f"{kind}.json").write_text(json.dumps(MODELS[kind]))
        open_clip.add_model_config(self.folder / f"{kind}.json")
        torch.manual_seed(7)
        model = open_clip.create_model(kind)
        if kind == "siglip":  # what its --siglip gives a fresh model
            model.logit_scale.data.fill_(np.log(10))
        save_file({name: t.contiguous() for name, t in model.state_dict().items()},
                  self.folder / f"{kind}.safetensors")
        run = {"run": {"name": kind, "seed": 4},
               "model": {"name": str(self.folder / f"{kind}.json"),
                         "init": str(self.folder / f"{kind}.safetensors")},
               "data": {"sources": [{"name": "made", "shards": str(self.folder / "shard-0.tar")}],
                        "train_transform": {"mode": "eval"}, "threads": 1, "lanes": 8, "vshard": 16,
                        "memory_mb": 512},
               "checkpoint": {"every_minutes": 0}, "log": {"every_steps": 1, "tensorboard": False},
               **RECIPES[kind],
               "train": {**RECIPES[kind]["train"], "global_batch": BATCH, "threads": 1,
                         "device": "cpu"}}
        self.config = self.folder / f"{kind}.yaml"
        self.config.write_text(json.dumps(run))
        return model

    def batches(self, kind):
        """What the peer makes of the keys that the program says it trains on."""
        steps = RECIPES[kind]["train"]["steps"]
        lines = self.plumbline("data", "order", self.config, "--from", 0, "--steps", steps).stdout
        transform = image_transform(MODELS[kind]["vision_cfg"]["image_size"], is_train=False)
        tokenizer = open_clip.SimpleTokenizer(context_length=TEXT["context_length"])
        rows = {key: (transform(Image.open(io.BytesIO(jpeg)).convert("RGB")), tokenizer(caption)[0])
                for key, (jpeg, caption) in self.samples.items()}
        order = [json.loads(line)["keys"] for line in lines.splitlines()]
        self.assertEqual([len(keys) for keys in order], [BATCH] * steps)
        self.assertEqual({key for keys in order for key in keys}, set(self.samples))
        return [tuple(map(torch.stack, zip(*(rows[key] for key in keys)))) for keys in order]

    def ours(self, name, *settings, ranks=0):
        assignments = [f"run.dir={self.folder / name}", *settings]
        self.plumbline("train", self.config, *[w for a in assignments for w in ("--set", a)],
                       ranks=ranks)
        world = json.loads((self.folder / name / "environment.json").read_text())["world"]
        self.assertEqual(world, max(ranks, 1))
        return self.metrics(name)

    def compare(self, name, ours, theirs, bound):
        self.assertEqual(len(ours), len(theirs["loss"]))
        worst = 0.0
        for line, loss, lr in zip(ours, theirs["loss"], theirs["lr"]):
            self.assertAlmostEqual(line["lr"], lr, delta=1e-15)
            worst = max(worst, abs(line["loss"] - loss) / loss)
            self.assertLess(worst, bound, f"{name}, step {line['step']}: {line['loss']}, not {loss}")
        # Ours is logged after the update, the peer's before it.
        for line, scale in zip(ours, theirs["scale"][1:]):
            self.assertLess(abs(line["logit_scale"] - scale) / scale, 1e-4, line["step"])
        first, last = theirs["loss"][0], theirs["loss"][-1]
        self.assertGreater(abs(last - first) / first, 0.02, "nothing was learned")
        print(f"{name}: loss {first:.4f} -> {last:.4f}, worst relative difference {worst:.1e}")

    def compare_all(self, kind, runs, bound):
        theirs = open_clip_loop.train(self.start(kind), self.batches(kind), RECIPES[kind])
        for name, (settings, ranks) in runs.items():
            self.compare(f"{kind}, {name}", self.ours(name, *settings, ranks=ranks), theirs, bound)

    def test_clip_loss_of_a_vit_in_50_steps(self):
        self.compare_all("clip", {"one-rank": ([], 0),
                                  "accumulated": (["train.micro_batch=6"], 0),
                                  "two-ranks": ([], 2)}, 1e-4)

    def test_sigmoid_loss_in_50_steps(self):
        self.compare_all("siglip", {"one-rank": ([], 0),
                                    "two-ranks-accumulated": (["train.micro_batch=4"], 2)}, 1e-4)

    def test_resnet_in_20_steps(self):
        """Batch statistics are those of a rank's rows, in OpenCLIP as here: no two worlds agree."""
        model = self.start("resnet")
        batches = self.batches("resnet")
        start = {name: t.clone() for name, t in model.state_dict().items()}
        for ranks in (1, 2):
            model.load_state_dict(start)
            theirs = open_clip_loop.train(model, batches, RECIPES["resnet"], parts=ranks)
            ours = self.ours(f"ranks{ranks}", ranks=ranks if ranks > 1 else 0)
            self.compare(f"resnet, {ranks} ranks", ours, theirs, 1e-3)

    def test_position_embeddings_of_another_size(self):
        """A step with learning rate 0 keeps what loading made of the weights."""
        self.start("clip")
        for side, length in ((80, 24), (24, 9)):
            larger = json.loads(json.dumps(MODELS["clip"]))
            larger["vision_cfg"]["image_size"] = side
            larger["text_cfg"]["context_length"] = length
            name = f"clip-{side}"
            (self.folder / f"{name}.json").write_text(json.dumps(larger))
            open_clip.add_model_config(self.folder / f"{name}.json")
            theirs = open_clip.create_model(
                name, pretrained=str(self.folder / "clip.safetensors")).state_dict()
            self.ours(name, f"model.name={self.folder / name}.json", "train.steps=1",
                      "optimizer.lr=0", "schedule.warmup_steps=0")
            ours = load_file(self.folder / name / "checkpoints/step-00000001/model.safetensors")
            self.assertEqual(list(ours), list(theirs))
            for key, value in theirs.items():
                self.assertEqual(ours[key].shape, value.shape, key)
                worst = (ours[key] - value).abs().max().item()
                self.assertLess(worst, 1e-6 if "positional" in key else 1e-12, key)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
