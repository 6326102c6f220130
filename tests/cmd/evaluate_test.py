"""evaluate and embed as a user runs them, on one rank and on several."""

import json
import os
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from pictures import write_png
from program import ROOT, ProgramTest, read_metrics


def read_safetensors(path):
    """(name -> bytes of the tensor, metadata) of a file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    return {name: data[8 + length:][slice(*entry["data_offsets"])]
            for name, entry in header.items()}, metadata


class Evaluate(ProgramTest):
    def setUp(self):
        super().setUp()
        self.plumbline("train", self.run_file("run", 2))
        self.checkpoint = self.folder / "run"
        self.pictures = []
        for i in range(25):
            path = self.folder / "pictures" / f"c{i % 6}" / f"{i:02}.png"
            write_png(path, i)
            self.pictures.append(path)
        self.suite = self.folder / "suite.yaml"
        self.suite.write_text("templates: photo\nsets:\n  - {name: s, layout: imagefolder, "
                              f"path: '{self.folder}/pictures'}}\n")

    def evaluate(self, out, **options):
        return self.plumbline("evaluate", "--checkpoint", self.checkpoint, "--suite", self.suite,
                              "--out", out, **options)

    def test_every_world_size_counts_each_image_once(self):
        written = {}
        for ranks in (0, 2, 3):
            out = self.folder / f"out{ranks}"
            self.evaluate(out, ranks=ranks)
            results = json.loads((out / "results.json").read_text())["sets"][0]
            self.assertEqual((results["n"], results["skipped"]), (25, 0))
            written[ranks] = ((out / "predictions" / "s.csv").read_text(),
                              {key: results[key] for key in ("top1", "top5", "ci95", "class_correct")})
        self.assertEqual(written[0], written[2])
        self.assertEqual(written[0], written[3])
        keys = [line.split(",")[0] for line in written[0][0].splitlines()[1:]]
        self.assertEqual(len(set(keys)), 25)

    def test_classifier_weights_are_kept_for_the_next_evaluation(self):
        cache = self.folder / "cache"
        suite = self.suite.read_text()
        self.suite.write_text(f"classifier_cache: '{cache}'\n" + suite)

        def predictions(out, **options):
            self.evaluate(self.folder / out, **options)
            return (self.folder / out / "predictions" / "s.csv").read_text()

        first = predictions("a", ranks=2)
        kept = list(cache.iterdir())
        self.assertEqual([path.suffix for path in kept], [".rows"])
        # Rows of other weights would be another file; these are read, at any number of ranks.
        written = kept[0].stat().st_ino
        for out, ranks in (("b", 0), ("c", 3)):
            self.assertEqual(predictions(out, ranks=ranks), first)
            self.assertEqual([path.stat().st_ino for path in cache.iterdir()], [written])
        # Damaged, it is computed again.
        kept[0].write_bytes(kept[0].read_bytes()[:-1] + b"?")
        self.assertEqual(predictions("d"), first)
        self.assertNotEqual([path.stat().st_ino for path in cache.iterdir()], [written])
        for path in cache.iterdir():
            path.unlink()
        self.suite.write_text("classifier_cache: off\n" + suite)
        self.assertEqual(predictions("e"), first)
        self.assertEqual(list(cache.iterdir()), [])

    def test_a_run_scores_what_its_checkpoint_holds(self):
        """Also where ranks differ in running statistics, and averaged weights are scored."""
        self.plumbline("train", self.run_file("scored", 5), "--set", "model.name=tiny-rn", "--set",
                       "train.ema=0.5", "--set", "evaluate.every_steps=5", "--set",
                       f"evaluate.suite={self.suite}", ranks=2)
        self.plumbline("evaluate", "--checkpoint", self.folder / "scored", "--suite", self.suite,
                       "--out", self.folder / "after")
        inside = self.folder / "scored" / "evaluation" / "step-00000005" / "predictions"
        names = [path.name for path in inside.iterdir()]
        self.assertGreater(len(names), 0)
        for name in names:
            self.assertEqual((inside / name).read_text(),
                             (self.folder / "after" / "predictions" / name).read_text(), name)

    def test_evaluating_during_training_changes_no_bit(self):
        evaluated = ["--set", "evaluate.every_steps=2", "--set", f"evaluate.suite={self.suite}"]
        for model in ("tiny-vit", "tiny-rn"):  # the second has batch normalisation
            runs = []
            for more in ([], evaluated):
                name = f"{model}-{len(more)}"
                self.plumbline("train", self.run_file(name, 5), "--set", f"model.name={model}",
                               "--set", "model.patch_dropout=" + ("0.5" if model == "tiny-vit" else "0"),
                               *more, ranks=2)
                curve = [{key: row[key] for key in ("step", "samples", "loss", "grad_norm", "logit_scale", "lr")}
                         for row in read_metrics(self.folder / name)]
                checkpoint = self.folder / name / "checkpoints" / "step-00000005"
                runs.append((curve, {path.name: path.read_bytes()
                                     for path in checkpoint.glob("*.safetensors")}))
            self.assertEqual(len(runs[0][0]), 5)
            self.assertGreater(len(runs[0][1]), 1, "weights and moments")
            self.assertEqual(runs[0][0], runs[1][0], model)
            self.assertEqual(runs[0][1], runs[1][1], model)
            steps = sorted(path.name for path in (self.folder / name / "evaluation").iterdir())
            self.assertEqual(steps, ["step-00000002", "step-00000004", "step-00000005"])

    def test_a_wrong_out_is_told_before_any_work(self):
        (self.folder / "file").write_text("")
        for out in (self.folder / "file", self.folder / "file" / "below"):
            # A checkpoint that does not exist would be the first error of the work.
            done = self.plumbline("evaluate", "--checkpoint", self.folder / "none", "--suite",
                                  self.suite, "--out", out, expect=2)
            self.assertIn("--out", done.stderr)
            self.assertIn("is no folder", done.stderr)
        done = self.plumbline("report", self.folder / "run", "--out", self.folder / "file", expect=2)
        self.assertIn("--out", done.stderr)

    def test_a_missing_set_is_told_before_any_work(self):
        self.suite.write_text(self.suite.read_text() +
                              "  - {name: t, layout: imagefolder, path: no/such/folder}\n")
        out = self.folder / "out"
        self.assertIn("no/such/folder", self.evaluate(out, expect=2).stderr)
        self.assertFalse(out.exists())

    def test_embeddings_do_not_depend_on_the_ranks(self):
        (self.folder / "list.txt").write_text("".join(f"{path}\n" for path in self.pictures))
        texts = [f"a picture of number {i}" for i in range(300)]
        (self.folder / "texts.txt").write_text("\n".join(texts) + "\n")
        files = []
        for ranks in (0, 2, 3):
            out = self.folder / f"features{ranks}.safetensors"
            done = self.plumbline("embed", "--checkpoint", self.checkpoint, "--images",
                                  self.folder / "list.txt", "--texts", self.folder / "texts.txt",
                                  "--out", out, ranks=ranks)
            self.assertEqual(done.stdout.count("image_features [25, "), 1)
            files.append(read_safetensors(out))
        self.assertEqual(json.loads(files[0][1]["keys"]), [str(path) for path in self.pictures])
        self.assertEqual(files[0], files[1])
        self.assertEqual(files[0], files[2])

    def test_a_wrong_out_of_embed_is_told_before_any_work(self):
        (self.folder / "texts.txt").write_text("a\n")
        done = self.plumbline("embed", "--checkpoint", self.folder / "none", "--texts",
                              self.folder / "texts.txt", "--out", self.folder, expect=2)
        self.assertIn("is a folder", done.stderr)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
