"""`evaluate` on every published layout, against OpenCLIP's classifier image by image, with 1, 2 and 3
ranks."""

import csv
import io
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest, command, environment

try:
    import layouts
    import numpy as np
    import open_clip
    import torch
    import yaml
    from PIL import Image
    from sklearn import metrics
except ImportError as error:
    open_clip, MISSING = None, str(error)
else:
    MISSING = ""

FMOW_TEMPLATES = [f"{m} photo of {w}." for m in ("satellite", "aerial")
                  for w in ["a {c}", "{a}", *(f"a {{c}} in {r}" for r in (
                      "asia", "africa", "the americas", "europe", "oceania"))]] + \
                 ["a photo of a {c}.", "{c}."]
PHOTO, WILD = ["a photo of a {c}."], ["a photo of {c}.", "{c} in the wild."]


def article(name):
    words = name.replace("_", " ")
    return ("an " if words[0] in "aeiou" else "a ") + words


def loaded_names(out):
    """Names of the evaluated sets; each has one table."""
    return [entry["name"] for entry in json.loads((out / "results.json").read_text())["sets"]]


@unittest.skipIf(MISSING, MISSING)
class Layouts(ProgramTest):
    def setUp(self):
        super().setUp()
        self.plumbline("train", self.run_file())
        checkpoint = self.folder / "run" / "checkpoints" / "step-00000020"
        schema = yaml.safe_load((ROOT / "configs" / "model" / "tiny-vit.yaml").read_text())
        (self.folder / "tiny-layouts.json").write_text(json.dumps(schema))
        open_clip.add_model_config(self.folder / "tiny-layouts.json")
        torch.set_num_threads(1)
        self.model, _, self.transform = open_clip.create_model_and_transforms(
            "tiny-layouts", pretrained=str(checkpoint / "model.safetensors"))
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer("tiny-layouts")
        layouts.assets(self.folder / "assets", ROOT / "assets" / "bpe_simple_vocab_16e6.txt.gz")

    # ---- what should come out ------------------------------------------------------------------

    def features(self, sources, border=0):
        tensors = []
        for source in sources:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
            width, height = image.size
            image = image.convert("RGB").crop((border, border, width - border, height - border))
            tensors.append(self.transform(image))
        with torch.no_grad():
            return self.model.encode_image(torch.stack(tensors), normalize=True)

    def logits(self, features, names, templates):
        with torch.no_grad():
            rows = []
            for name in names:
                texts = [t.replace("{c}", name).replace("{a}", article(name)) for t in templates]
                unit = self.model.encode_text(self.tokenizer(texts), normalize=True)
                rows.append(torch.nn.functional.normalize(unit.mean(0), dim=0))
            return 100 * features @ torch.stack(rows).T

    def check_predictions(self, out, name, items, logits):
        """The file's guesses are the peer's, in its order; returns the first guesses."""
        with (out / "predictions" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["key"] for row in rows], [item[0] for item in items], name)
        self.assertEqual([int(row["target"]) for row in rows], [item[2] for item in items], name)
        sure = 0
        for row, given in zip(rows, logits):
            best = given.sort(descending=True, stable=True)
            for k in range(min(5, len(given))):
                guess = int(row[f"pred{k + 1}"])
                # Two implementations round differently: of near equals either may stand first.
                self.assertLess(abs((given[guess] - best.values[k]).item()), 2e-4, (name, row, k))
            if len(given) == 1 or best.values[0] - best.values[1] > 1e-3:
                sure += 1
                self.assertEqual(int(row["pred1"]), int(best.indices[0]), (name, row))
        self.assertGreater(sure, 0.9 * len(rows), name)
        return [int(row["pred1"]) for row in rows]

    # ---- the sets ------------------------------------------------------------------------------

    def write_sets(self):
        """Suite entries, and for each its items, names, templates, border and columns."""
        data, entries, expected = self.folder / "data", [], {}

        def add(name, layout, path, items, classes_, templates=PHOTO, border=0, columns=None, **keys):
            entries.append({"name": name, "layout": layout, "path": str(path), **keys})
            expected[name] = (items, classes_, templates, border, columns)

        imagenet = layouts.imagenet(data / "imagenet")
        add("imagenet", "imagenet", data / "imagenet", imagenet, layouts.NAMES, role="reference")
        # The 200-class rule: only the listed columns take part, targets count among them.
        in_r = [(k, p, layouts.IN_R.index(t)) for k, p, t in imagenet if t in layouts.IN_R]
        r_names = [layouts.NAMES[i] for i in layouts.IN_R]
        add("imagenet_r_classes", "imagenet", data / "imagenet", in_r, r_names, classes="in_r")
        for variant in ("matched-frequency", "threshold-0.7", "top-images"):
            root = data / f"v2-{variant}"
            add(f"v2-{variant}", "imagenetv2", root, layouts.imagenetv2(root, variant),
                layouts.NAMES, variant=variant, reference="imagenet")
        add("sketch", "imagenet_sketch", data / "s", layouts.sketch(data / "s"), layouts.NAMES,
            reference="imagenet")
        add("r", "imagenet_r", data / "r", layouts.subset(data / "r", layouts.IN_R), r_names,
            reference="imagenet_r_classes")
        add("a", "imagenet_a", data / "a", layouts.subset(data / "a", layouts.IN_A),
            [layouts.NAMES[i] for i in layouts.IN_A], reference="imagenet")
        objectnet = layouts.objectnet(data / "o")
        # Folders sorted, called by their labels in lower case; "mug" is no class of ImageNet.
        add("objectnet", "objectnet", data / "o", objectnet, ["chair", "alarm clock", "neck tie"],
            border=2, reference="imagenet")
        # Columns 4, 5, 7 and 8 of ImageNet, of which 7 and 8 are both chairs.
        add("objectnet_imagenet", "objectnet", data / "o", objectnet,
            [layouts.NAMES[i] for i in (4, 5, 7, 8)], columns=[2, 1, 0, 0], head="imagenet",
            border_px=0, reference="imagenet")
        layouts.write(data / "cameras.txt", "".join(f"{n}\n" for n in layouts.CAMERAS))
        add("iwildcam", "iwildcam", data / "i", layouts.iwildcam(data / "i"),
            [n.lower() for n in layouts.CAMERAS], WILD, names=str(data / "cameras.txt"))
        add("fmow", "fmow", data / "f", layouts.fmow(data / "f"), layouts.LAND, FMOW_TEMPLATES)
        folders = ["Zebra", "a b", "bee"]  # bytewise: capitals first
        add("folder", "imagefolder", data / "d",
            layouts.by_class(data / "d", folders, range(3), 3, ".png"), folders)
        names = ["bird", "violin", "oil lamp", "tree", "hat", "house"]
        found = layouts.webdataset(data / "w", names, {"test": 23, "train": 60})
        add("webdataset", "webdataset", data / "w", found["test"], names,
            ["a {c}", "a drawing of a {c}"])
        entries.append({"name": "probe", "layout": "webdataset", "path": str(data / "w"),
                        "kind": "linear_probe", "train": "train"})
        entries.append({"name": "captions", "layout": "webdataset", "path": str(data / "t"),
                        "kind": "retrieval"})
        entries.append({"name": "several", "layout": "webdataset", "path": str(data / "m"),
                        "kind": "multilabel", "templates": "photo"})
        for entry in entries:
            if entry["name"] not in ("iwildcam", "fmow", "webdataset", "probe", "captions"):
                entry["templates"] = "photo"
        (self.folder / "suite.yaml").write_text(yaml.safe_dump(
            {"classifier_cache": "off", "sets": entries}))
        return (entries, expected, layouts.retrieval(data / "t"),
                layouts.multilabel(data / "m", layouts.NAMES[:5]))

    def evaluate(self, ranks):
        out = self.folder / f"out{ranks}"
        # From a folder whose assets are those of the miniature.
        done = subprocess.run(
            command("evaluate", "--checkpoint", self.folder / "run", "--suite",
                    self.folder / "suite.yaml", "--out", out, ranks=ranks),
            cwd=self.folder, env={**environment(), "PLUMBLINE_ASSETS": ""}, capture_output=True,
            text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out

    def check_retrieval(self, out, results, items):
        images = self.features([data for _, data, _ in items])
        captions = [text for _, _, texts in items for text in texts]
        owner = np.array([i for i, (_, _, texts) in enumerate(items) for _ in texts])
        with torch.no_grad():
            texts = self.model.encode_text(self.tokenizer(captions), normalize=True)
        scores = (texts @ images.T).double().numpy()
        self.assertEqual((results["n"], results["texts"]), (len(items), len(captions)))
        with (out / "retrieval" / "captions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        of_texts = [int(row["place"]) for row in rows if row["query"] == "text"]
        of_images = [int(row["place"]) for row in rows if row["query"] == "image"]
        for t, place in enumerate(of_texts):
            mine = scores[t, owner[t]]
            self.assertLessEqual((scores[t] > mine + 1e-6).sum(), place)
            self.assertGreaterEqual((scores[t] >= mine - 1e-6).sum() - 1, place)
        for i, place in enumerate(of_images):
            best = scores[owner == i, i].max()
            self.assertLessEqual((scores[:, i] > best + 1e-6).sum(), place)
            self.assertGreaterEqual((scores[:, i] >= best - 1e-6).sum() - 1, place)
        for k in (1, 5, 10):
            self.assertAlmostEqual(results[f"image_recall@{k}"], np.mean(np.array(of_texts) < k))
            self.assertAlmostEqual(results[f"text_recall@{k}"], np.mean(np.array(of_images) < k))

    def check_multilabel(self, out, results, items):
        """Scores are the peer's; average precision of the written scores is scikit-learn's."""
        with (out / "multilabel" / "several.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["key"] for row in rows], [key for key, _, _ in items])
        hot = np.stack([label for _, _, label in items])
        self.assertEqual([[int(c) for c in row["labels"].split()] for row in rows],
                         [np.flatnonzero(label).tolist() for label in hot])
        scores = np.array([[float(row[f"score{c}"]) for c in range(5)] for row in rows])
        peer = self.logits(self.features([data for _, data, _ in items]), layouts.NAMES[:5], PHOTO)
        self.assertLess(np.abs(scores - peer.numpy()).max(), 2e-4)
        expected = [metrics.average_precision_score(hot[:, c], scores[:, c]) if hot[:, c].any() else 0
                    for c in range(5)]
        np.testing.assert_allclose(results["class_average_precision"], expected, atol=1e-12)
        self.assertAlmostEqual(results["mean_average_precision"], np.mean(expected), places=12)
        self.assertEqual(results["class_positives"], hot.sum(0).tolist())

    def check_groups(self, results, items, first):
        """WILDS: the least accuracy of the groups that have images; unknown countries do not count."""
        right = np.array([guess == item[2] for guess, item in zip(first, items)])
        for name, place, left_out in (("region", 3, "Other"), ("year", 4, None)):
            of = np.array([str(item[place]) for item in items])
            worst = min(right[of == g].mean() for g in set(of) if g != left_out)
            self.assertAlmostEqual(results[f"worst_{name}"], worst, places=12)
            named = results[f"worst_{name}_is"]
            self.assertAlmostEqual(right[of == named].mean(), worst, places=12)

    # ---- the test ------------------------------------------------------------------------------

    def test_every_layout_at_every_world_size(self):
        entries, expected, captions, several = self.write_sets()
        outs = [self.evaluate(ranks) for ranks in (0, 2, 3)]
        results = json.loads((outs[0] / "results.json").read_text())["sets"]
        self.assertEqual([r["name"] for r in results], [entry["name"] for entry in entries])
        results = {r["name"]: r for r in results}
        for name, (items, names, templates, border, columns) in expected.items():
            logits = self.logits(self.features([item[1] for item in items], border), names, templates)
            if columns:
                of = np.array(columns)
                logits = torch.stack([logits[:, of == c].max(1).values for c in range(max(columns) + 1)], 1)
            first = self.check_predictions(outs[0], name, items, logits)
            targets, r = [item[2] for item in items], results[name]
            self.assertEqual((r["n"], r["skipped"], r["classes"]), (len(items), 0, logits.shape[1]), name)
            self.assertAlmostEqual(r["top1"], metrics.accuracy_score(targets, first), places=12)
            self.assertAlmostEqual(r["macro_f1"], metrics.f1_score(
                targets, first, labels=sorted(set(targets)), average="macro", zero_division=0), places=12)
            self.assertAlmostEqual(r["mean_per_class"], metrics.recall_score(
                targets, first, labels=sorted(set(targets)), average="macro", zero_division=0), places=12)
            if name == "fmow":
                self.check_groups(r, items, first)
        self.assertEqual((results["objectnet"]["border_px"], results["objectnet"]["head"]), (2, "own"))
        self.assertEqual(results["objectnet_imagenet"]["head"], "imagenet")
        self.assertEqual(results["v2-top-images"]["variant"], "top-images")
        self.assertEqual((results["probe"]["train_n"], results["probe"]["n"]), (60, 23))
        self.check_retrieval(outs[0], results["captions"], captions)
        self.check_multilabel(outs[0], results["several"], several)
        self.check_other_worlds(outs)

    def check_other_worlds(self, outs):
        """No number and no prediction depends on the ranks; each image is counted once."""
        files = sorted(path.relative_to(outs[0]) for path in outs[0].rglob("*.csv"))
        self.assertEqual(len(files), len(loaded_names(outs[0])))
        for other in outs[1:]:
            for file in files:
                self.assertEqual((outs[0] / file).read_text(), (other / file).read_text(), file)
            loaded = [json.loads((out / "results.json").read_text()) for out in (outs[0], other)]
            for results in loaded:
                for entry in results["sets"]:
                    del entry["seconds"], entry["images_per_s"]
            self.assertEqual(loaded[0], loaded[1])


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
