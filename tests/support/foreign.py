"""What the tests of import and export share: models of other programs, and both sides' features.

Raises ImportError where torch, open_clip or safetensors is missing.
"""

import json

import open_clip
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from program import ROOT, ProgramTest

TEXTS = ["a photo of a bird", "Der Baum, naïve café!", "一只猫 🐈", "x" * 300]
TINY = {"embed_dim": 32, "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}}


def tiny_vit():
    return yaml.safe_load((ROOT / "configs" / "model" / "tiny-vit.yaml").read_text())


def build(config, seed=3):
    """OpenCLIP's model with weights that are not the fresh ones."""
    config = json.loads(json.dumps(config))
    custom = config.pop("custom_text", False)
    torch.manual_seed(seed)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model


def optimizer_of(model, rule="openclip3"):
    """The two groups of OpenCLIP's training program: 3.3.0's, or its main branch's."""
    whole = ("positional_embedding", "visual.positional_embedding", "visual.class_embedding")

    def spared(name, parameter):
        if parameter.ndim < 2 or any(s in name for s in ("bn", "ln", "bias", "logit_scale")):
            return True
        return rule == "openclip4" and name in whole

    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return torch.optim.AdamW([
        {"params": [p for n, p in named if spared(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not spared(n, p)], "weight_decay": 0.2},
    ], lr=1e-3, betas=(0.9, 0.98), eps=1e-6)


def step(model, optimizer):
    """One step of training on fixed noise."""
    generator = torch.Generator().manual_seed(8)
    images = torch.randn(4, 3, *model.visual.image_size, generator=generator)
    tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    image, text, scale = model(images, tokens)[:3]
    loss = open_clip.ClipLoss()(image, text, scale)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class ForeignTest(ProgramTest):
    def move_in(self, path, *arguments, name="in"):
        """Imports; returns the folder of the checkpoint."""
        out = self.folder / name
        self.plumbline("import", path, *arguments, "--out", out)
        return out / (out / "latest").read_text().strip()

    def move_out(self, checkpoint, form, name="out"):
        self.plumbline("export", "--checkpoint", checkpoint, "--format", form, "--out",
                       self.folder / name)
        return self.folder / name

    def model_file(self, config, name="model.json"):
        path = self.folder / name
        path.write_text(json.dumps(config))
        return path

    def same(self, ours, theirs):
        self.assertEqual(sorted(ours), sorted(theirs))
        for name, tensor in theirs.items():
            self.assertTrue(torch.equal(ours[name], tensor), name)

    def weights(self, checkpoint):
        return load_file(checkpoint / "model.safetensors")

    def moments(self, checkpoint):
        return load_file(checkpoint / "optimizer-00000-of-00001.safetensors")

    def schema(self, checkpoint):
        return json.loads((checkpoint / "manifest.json").read_text())["model"]

    def features(self, checkpoint):
        """Of the program: features of generated pictures and of TEXTS; the pictures."""
        paths = []
        generator = torch.Generator().manual_seed(1)
        for i, (width, height) in enumerate([(64, 48), (40, 100), (33, 33)]):
            pixels = torch.randint(0, 256, (height, width, 3), generator=generator,
                                   dtype=torch.uint8).numpy()
            paths.append(self.folder / f"{i}.png")
            Image.fromarray(pixels).save(paths[-1])
        (self.folder / "images.txt").write_text("\n".join(map(str, paths)) + "\n")
        (self.folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
        self.plumbline("embed", "--checkpoint", checkpoint, "--images", self.folder / "images.txt",
                       "--texts", self.folder / "texts.txt", "--out", self.folder / "f.safetensors")
        return load_file(self.folder / "f.safetensors"), [Image.open(path) for path in paths]

    def close(self, ours, image, text):
        for name, theirs in (("image_features", image), ("text_features", text)):
            theirs = torch.nn.functional.normalize(theirs, dim=-1)
            self.assertEqual(ours[name].shape, theirs.shape)
            self.assertLess((ours[name] - theirs).abs().max().item(), 1e-5, name)

    def compare_open_clip(self, checkpoint, model, transform, tokenizer):
        ours, images = self.features(checkpoint)
        with torch.no_grad():
            self.close(ours, model.encode_image(torch.stack([transform(i) for i in images])),
                       model.encode_text(tokenizer(TEXTS)))

    def refused(self, path, *arguments, code, says):
        """Nothing is written, and the error says what is wrong in one sentence or list."""
        done = self.plumbline("import", path, *arguments, "--out", self.folder / "refused",
                              expect=code)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        self.assertEqual([p for p in self.folder.iterdir() if p.name.startswith("refused")], [])
