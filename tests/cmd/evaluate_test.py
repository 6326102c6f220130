"""evaluate and embed as a user runs them, on one rank and on several."""

import json
import os
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from pictures import write_png
from program import ROOT, ProgramTest


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
