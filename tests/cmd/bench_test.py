"""`plumbline bench`: what it prints, not how fast anything is."""

import io
import json
import math
import os
import sys
import tarfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest

PEER_THERE = (ROOT / ".venv" / "bin" / "python").exists()
KEYS = ["name", "input", "unit", "peer_name", "limit_name", "ours", "peer", "of_peer", "equal",
        "limit", "of_limit"]


class Bench(ProgramTest):
    def figures(self, name, *arguments):
        document = json.loads(self.plumbline("bench", name, "--seconds", "0.02", "--json",
                                             *arguments).stdout)
        self.assertEqual(document["bench"], name)
        for figure in document["figures"]:
            self.assertLessEqual(set(KEYS), set(figure))
            for rate in ("cpu", "wall"):
                self.assertGreater(figure["ours"][rate], 0)
                self.assertTrue(math.isfinite(figure["ours"][rate]))
            self.assertNotEqual(figure["input"], "")
            if not PEER_THERE:
                self.assertIsNone(figure["peer"])
                self.assertIn(".venv/bin/python", figure["peer_absent"])
                continue
            self.assertNotIn("peer_absent", figure, figure.get("peer_absent"))
            self.assertGreater(figure["peer"]["cpu"], 0)
            self.assertAlmostEqual(figure["of_peer"], figure["ours"]["cpu"] / figure["peer"]["cpu"])
            self.assertTrue(figure["equal"], f"{figure['name']}: another result than the peer's")
        return document["figures"]

    def test_preprocess(self):
        figures = self.figures("preprocess")
        self.assertEqual([f["name"] for f in figures],
                         ["512 x 512 to 224 x 224", "256 x 256 to 224 x 224"])
        for figure in figures:
            self.assertAlmostEqual(figure["of_limit"], figure["ours"]["cpu"] / figure["limit"])

    def test_loader_given_shards(self):
        jpeg = (ROOT / "tests" / "golden" / "image" / "jpeg-420.jpg").read_bytes()
        with tarfile.open(self.folder / "few.tar", "w") as tar:
            for i in range(70):
                for name, content in ((f"{i:03}.jpg", jpeg), (f"{i:03}.txt", b"cat %d" % i)):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        figure, = self.figures("loader", "--input", self.folder / "few.tar")
        self.assertIn("1 shards", figure["input"])
        self.assertGreater(figure["limit"], figure["decode_alone"])
        self.plumbline("bench", "loader", "--input", self.folder / "absent.tar", expect=2)

    def test_tokenize_given_captions(self):
        captions = self.folder / "captions.txt"
        captions.write_text("a photo of a cat\nDer Baum, naïve café!\n一只猫 🐈\n" + "x" * 300 + "\n")
        figure, = self.figures("tokenize", "--input", captions)
        self.assertIn("4 captions", figure["input"])
        self.assertIsNone(figure["limit"])

    def test_step(self):
        figures = self.figures("step", "--input", "tiny-vit")
        self.assertEqual([f["name"] for f in figures],
                         ["tiny-vit, training step, fp32", "tiny-vit, training step, bf16"])
        for figure in figures:
            self.assertAlmostEqual(figure["mfu"], figure["ours"]["cpu"] / figure["limit"])

    def test_bad_input_is_named(self):
        (self.folder / "list.txt").write_text(f"{self.folder / 'list.txt'}\n")
        done = self.plumbline("bench", "preprocess", "--input", self.folder / "list.txt", expect=65)
        self.assertIn("list.txt is no JPEG", done.stderr)
        self.plumbline("bench", "tokenize", "--input", self.folder / "absent", expect=65)
        self.plumbline("bench", expect=2)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
