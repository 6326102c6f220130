"""A checkpoint's model.safetensors loads into open_clip strictly, and both give equal features."""

import csv
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from pictures import write_png
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
    def train_both(self, model_name):
        """Our checkpoint, and open_clip's model and transform from its file."""
        self.plumbline("train", self.run_file(), "--set", f"model.name={model_name}")
        checkpoint = self.folder / "run" / "checkpoints" / "step-00000020"
        schema = yaml.safe_load((ROOT / "configs" / "model" / f"{model_name}.yaml").read_text())
        (self.folder / f"{model_name}.json").write_text(json.dumps(schema))
        open_clip.add_model_config(self.folder / f"{model_name}.json")
        model, _, transform = open_clip.create_model_and_transforms(
            model_name, pretrained=str(checkpoint / "model.safetensors"))
        return checkpoint, model.eval(), transform

    def features_of_both(self, model_name):
        checkpoint, model, transform = self.train_both(model_name)
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

    def test_zero_shot_predictions_are_equal_image_by_image(self):
        checkpoint, model, transform = self.train_both("tiny-vit")
        names = ["bird", "oil lamp", "tree", "car", "hat", "violin", "house"]
        paths = []
        for i in range(70):
            paths.append(self.folder / "set" / names[i % 7] / f"{i:02}.png")
            write_png(paths[-1], i, side=20 + i % 30)
        templates = ["a photo of a {c}.", "{c}", "a drawing of the {c}!"]
        (self.folder / "templates.txt").write_text("\n".join(templates) + "\n")
        (self.folder / "suite.yaml").write_text(
            f"templates: {self.folder}/templates.txt\nsets:\n"
            f"  - {{name: s, layout: imagefolder, path: '{self.folder}/set'}}\n")
        self.plumbline("evaluate", "--checkpoint", checkpoint, "--suite",
                       self.folder / "suite.yaml", "--out", self.folder / "e")
        with (self.folder / "e" / "predictions" / "s.csv").open(newline="") as file:
            ours = {row["key"]: row for row in csv.DictReader(file)}
        self.assertEqual(len(ours), 70)
        classes = sorted(names)
        with torch.no_grad():
            classifier = open_clip.build_zero_shot_classifier(
                model, open_clip.get_tokenizer("tiny-vit"), classes,
                [text.replace("{c}", "{}") for text in templates])
            images = torch.stack([transform(Image.open(path)) for path in paths])
            logits = 100 * model.encode_image(images, normalize=True) @ classifier
        self.assertGreater(len(set(logits.argmax(1).tolist())), 1, "predictions that can differ")
        right = 0
        for path, row in zip(paths, logits):
            given = ours[f"{path.parent.name}/{path.name}"]
            place = [int(given[f"pred{k}"]) for k in range(1, 6)]
            # Two implementations round differently: of equals within 1e-4 either may be first.
            theirs = row.sort(descending=True, stable=True).values
            for k, guess in enumerate(place):
                self.assertLess(abs((row[guess] - theirs[k]).item()), 1e-4, (path, place))
            self.assertEqual(int(given["target"]), classes.index(path.parent.name))
            right += int(row.argmax()) == int(given["target"])
        results = json.loads((self.folder / "e" / "results.json").read_text())["sets"][0]
        self.assertAlmostEqual(results["top1"], right / 70, places=12)

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
