"""A checkpoint's model.safetensors loads into open_clip strictly, and both give equal features."""

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest

try:
    import open_clip
    import torch
    import yaml
    from PIL import Image
    from safetensors.torch import load_file
except ImportError as error:
    open_clip = None
    MISSING = str(error)

TEXTS = ["a photo of a bird", "Der Baum, naïve café!", "一只猫 🐈", "x" * 300]


@unittest.skipIf(open_clip is None, "no open_clip in this Python")
class OpenClip(ProgramTest):
    def features_of_both(self, model_name):
        self.plumbline("train", self.run_file(), "--set", f"model.name={model_name}")
        checkpoint = self.folder / "run" / "checkpoints" / "step-00000020"
        schema = yaml.safe_load((ROOT / "configs" / "model" / f"{model_name}.yaml").read_text())
        (self.folder / f"{model_name}.json").write_text(json.dumps(schema))
        open_clip.add_model_config(self.folder / f"{model_name}.json")
        model, _, transform = open_clip.create_model_and_transforms(
            model_name, pretrained=str(checkpoint / "model.safetensors"))
        model.eval()
        paths = self.pictures()
        (self.folder / "images.txt").write_text("\n".join(map(str, paths)) + "\n")
        (self.folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
        self.plumbline("embed", "--checkpoint", checkpoint, "--images", self.folder / "images.txt",
                       "--texts", self.folder / "texts.txt", "--out", self.folder / "f.safetensors")
        ours = load_file(self.folder / "f.safetensors")
        tokenizer = open_clip.get_tokenizer(model_name)
        with torch.no_grad():
            images = torch.stack([transform(Image.open(path)) for path in paths])
            theirs = {"image_features": model.encode_image(images, normalize=True),
                      "text_features": model.encode_text(tokenizer(TEXTS), normalize=True)}
        return ours, theirs

    def pictures(self):
        generator = torch.Generator().manual_seed(1)
        paths = []
        for i, (width, height) in enumerate([(64, 48), (40, 100), (33, 33)]):
            pixels = torch.randint(0, 256, (height, width, 3), generator=generator,
                                   dtype=torch.uint8).numpy()
            paths.append(self.folder / f"{i}.png")
            Image.fromarray(pixels).save(paths[-1])
        return paths

    def test_vit(self):
        self.compare(*self.features_of_both("tiny-vit"))

    def test_resnet(self):
        self.compare(*self.features_of_both("tiny-rn"))

    def compare(self, ours, theirs):
        for name, expected in theirs.items():
            self.assertEqual(ours[name].shape, expected.shape)
            self.assertLess((ours[name] - expected).abs().max().item(), 1e-5, name)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
