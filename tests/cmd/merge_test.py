"""Merged checkpoints as a user makes and uses them."""

import json
import os
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from pictures import write_png
from program import ROOT, ProgramTest


def read_tensors(checkpoint):
    """Name -> (type, bytes) of a checkpoint's model."""
    data = (checkpoint / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], data[8 + length:][slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def floats(tensor):
    return struct.unpack(f"<{len(tensor[1]) // 4}f", tensor[1])


class Merge(ProgramTest):
    def setUp(self):
        super().setUp()
        self.plumbline("train", self.run_file("run", 6), "--set", "checkpoint.every_steps=2",
                       "--set", "checkpoint.keep_last=9")
        steps = self.folder / "run" / "checkpoints"
        self.checkpoints = [steps / f"step-{step:08d}" for step in (2, 4, 6)]
        for i in range(24):
            write_png(self.folder / "pictures" / f"c{i % 6}" / f"{i}.png", i)

    def suite(self, text):
        path = self.folder / "suite.yaml"
        path.write_text(text.format(folder=self.folder))
        return path

    def test_interpolate_has_bitwise_ends_and_every_step_can_be_evaluated(self):
        a, b = self.checkpoints[0], self.checkpoints[2]
        out = self.folder / "wise"
        self.plumbline("merge", "interpolate", a, b, "--alpha", "0:1:0.5", "--out", out)
        merged = {alpha: read_tensors(out / f"alpha-{alpha}" / "step-00000002")
                  for alpha in ("0.00", "0.50", "1.00")}
        self.assertEqual(merged["0.00"], read_tensors(a))
        self.assertEqual(merged["1.00"], read_tensors(b))
        for name, tensor in merged["0.50"].items():
            if tensor[0] == "F32":
                ends = zip(floats(merged["0.00"][name]), floats(merged["1.00"][name]))
                for value, (x, y) in zip(floats(tensor), ends):
                    self.assertLessEqual(abs(value - (x + y) / 2), 1e-6 * (abs(x) + abs(y)), name)
        self.assertNotEqual(merged["0.50"]["logit_scale"], merged["0.00"]["logit_scale"])
        record = json.loads((out / "merge.json").read_text())
        self.assertEqual([o["alpha"] for o in record["outputs"]], [0, 0.5, 1])
        self.assertEqual(record["outputs"][1]["checkpoint"], "alpha-0.50/step-00000002")
        self.plumbline("checkpoint", "verify", out / "alpha-0.50")
        suite = self.suite("templates: photo\nsets:\n"
                           "  - {{name: s, layout: imagefolder, path: '{folder}/pictures'}}\n")
        self.plumbline("evaluate", "--checkpoint", out / "alpha-0.50", "--suite", suite, "--out",
                       self.folder / "e")
        results = json.loads((self.folder / "e" / "results.json").read_text())
        self.assertEqual(results["sets"][0]["n"], 24)
        self.assertEqual(results["merge"]["kind"], "interpolate")
        self.assertEqual(results["merge"]["alpha"], 0.5)
        self.assertEqual(results["merge"]["inputs"], [str(a), str(b)])

    def test_uniform_of_the_same_model_is_that_model(self):
        a = self.checkpoints[0]
        self.plumbline("merge", "uniform", a, a, a, a, "--out", self.folder / "same")
        self.assertEqual(read_tensors(self.folder / "same" / "step-00000002"), read_tensors(a))

    def test_greedy_looks_at_reference_sets_alone(self):
        suite = self.suite("templates: photo\nsets:\n"
                           "  - {{name: s, layout: imagefolder, path: '{folder}/pictures'}}\n"
                           "  - {{name: t, layout: imagefolder, path: no/such/folder, "
                           "reference: s}}\n")
        records = []
        for ranks in (1, 2):
            out = self.folder / f"soup{ranks}"
            self.plumbline("merge", "greedy", *self.checkpoints, "--suite", suite, "--out", out,
                           ranks=ranks)
            records.append(json.loads((out / "merge.json").read_text()))
            self.plumbline("checkpoint", "verify", out)
        self.assertEqual(records[0], records[1])
        record = records[0]
        self.assertEqual(record["held_out_sets"], ["s"])
        alone = [entry["held_out"] for entry in record["inputs"]]
        order = sorted(range(3), key=lambda i: (-alone[i], -i))
        self.assertEqual([step["input"] for step in record["steps"]], order)
        best = max(alone)
        self.assertTrue(record["steps"][0]["kept"])
        for step in record["steps"][1:]:
            self.assertEqual(step["kept"], step["held_out"] > best)
            best = max(best, step["held_out"])
        self.assertEqual(record["held_out"], best)

    def test_fine_tuning_starts_as_zero_shot_and_mixes_with_it(self):
        clip, out = self.checkpoints[2], self.folder / "wise"
        names = self.folder / "names.txt"
        names.write_text("".join(f"c{i}\n" for i in range(8)))
        self.plumbline("train", self.run_file("tuned", 3), "--set", f"model.classes={names}",
                       "--set", f"model.init={clip}", "--set", "model.init_templates=photo",
                       "--set", "loss.kind=cross_entropy", "--set", "data.sources.0.captions=none",
                       ranks=2)
        log = (self.folder / "tuned" / "log" / "rank-00000.log").read_text()
        self.assertIn("the head starts as the zero-shot classifier of", log)
        self.plumbline("merge", "interpolate", clip, self.folder / "tuned", "--alpha", "0:1:0.5",
                       "--out", out)
        zero = read_tensors(out / "alpha-0.00" / "step-00000006")
        self.assertEqual(set(floats(zero["head.bias"])), {0.0})
        original = read_tensors(clip)
        for name, tensor in zero.items():
            if not name.startswith("head."):
                self.assertEqual(tensor, original[name], name)
        tuned = self.folder / "tuned" / "checkpoints" / "step-00000003"
        self.assertEqual(read_tensors(out / "alpha-1.00" / "step-00000006"), read_tensors(tuned))
        suite = self.suite("templates: photo\nsets:\n"
                           "  - {{name: s, layout: imagefolder, path: '{folder}/pictures'}}\n")
        predictions = []
        for name, checkpoint in (("clip", clip), ("head", out / "alpha-0.00")):
            self.plumbline("evaluate", "--checkpoint", checkpoint, "--suite", suite, "--out",
                           self.folder / name)
            predictions.append((self.folder / name / "predictions" / "s.csv").read_text())
        self.assertEqual(predictions[0], predictions[1])

    def test_refusals_write_nothing(self):
        a, b = self.checkpoints[:2]
        out = self.folder / "out"
        shifts = self.suite("sets:\n  - {{name: t, layout: imagefolder, path: '{folder}/pictures', "
                            "role: shift}}\n")
        done = self.plumbline("merge", "greedy", a, b, "--suite", shifts, "--out", out, expect=2)
        self.assertIn("role reference", done.stderr)
        disguised = self.suite(
            "sets:\n  - {{name: s, layout: imagefolder, path: '{folder}/pictures'}}\n"
            "  - {{name: t, layout: imagefolder, path: '{folder}/pictures', reference: s, "
            "role: reference}}\n")
        done = self.plumbline("merge", "greedy", a, b, "--suite", disguised, "--out", out, expect=2)
        self.assertIn("it is a shift", done.stderr)
        done = self.plumbline("merge", "interpolate", a, b, "--alpha", "0:1:0.3", "--out", out,
                              expect=2)
        self.assertIn("--alpha 0:1:0.3", done.stderr)
        self.plumbline("train", self.run_file("other", 2), "--set", "model.name=tiny-rn")
        done = self.plumbline("merge", "uniform", a, self.folder / "other", "--out", out, expect=2)
        self.assertGreater(done.stderr.count(" is only in "), 10)
        self.assertFalse(out.exists())
        done = self.plumbline("merge", "uniform", a, b, "--out", self.folder, expect=2)
        self.assertIn("not an empty folder", done.stderr)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
