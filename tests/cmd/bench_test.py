"""`plumbline bench`: what it prints, not how fast anything is."""

import json
import math
import os
import sys
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

    def test_tokenize_given_captions(self):
        captions = self.folder / "captions.txt"
        captions.write_text("a photo of a cat\nDer Baum, naïve café!\n一只猫 🐈\n" + "x" * 300 + "\n")
        figure, = self.figures("tokenize", "--input", captions)
        self.assertIn("4 captions", figure["input"])
        self.assertIsNone(figure["limit"])

    def test_bad_input_is_named(self):
        (self.folder / "list.txt").write_text(f"{self.folder / 'list.txt'}\n")
        done = self.plumbline("bench", "preprocess", "--input", self.folder / "list.txt", expect=65)
        self.assertIn("list.txt is no JPEG", done.stderr)
        self.plumbline("bench", "tokenize", "--input", self.folder / "absent", expect=65)
        self.plumbline("bench", expect=2)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
