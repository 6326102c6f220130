"""`plumbline data score` and `data filter`, from a run's checkpoint to the shards that are kept."""

import csv
import io
import json
import subprocess
import sys
import tarfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from pictures import write_png
from program import ProgramTest

COUNT = 30


class Score(ProgramTest):
    def setUp(self):
        super().setUp()
        self.plumbline("train", self.run_file("run", 1))
        self.keys = [f"k{i:03d}" for i in range(COUNT)]
        shards = self.folder / "shards"
        shards.mkdir()
        for i, key in enumerate(self.keys):
            write_png(self.folder / "images" / f"{key}.png", i)
        for s in range(3):
            with tarfile.open(shards / f"{s}.tar", "w") as tar:
                for i in range(10 * s, 10 * s + 10):
                    image = (self.folder / "images" / f"{self.keys[i]}.png").read_bytes()
                    self.add(tar, f"{self.keys[i]}.png", image)
                    self.add(tar, f"{self.keys[i]}.txt", f"picture number {i}".encode())
        self.plain = shards / "{0..2}.tar"

    def add(self, tar, name, content):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))

    def score(self, *shards, name="scores", ranks=0):
        out = self.folder / f"{name}.csv"
        done = self.plumbline("data", "score", *shards, "--checkpoint", self.folder / "run",
                              "--out", out, "--json", ranks=ranks)
        self.assertEqual(json.loads(done.stdout),
                         {"samples": COUNT, "scored": COUNT, "refused": []})
        with out.open(newline="") as table:
            return [(row["key"], float(row["score"])) for row in csv.DictReader(table)]

    def test_scores_are_cosines_whatever_the_source_and_the_ranks(self):
        scores = self.score(self.plain)
        self.assertEqual([key for key, _ in scores], self.keys)
        self.assertGreater(len({score for _, score in scores}), COUNT // 2)

        texts = self.folder / "texts.txt"
        texts.write_text("".join(f"picture number {i}\n" for i in range(COUNT)))
        images = self.folder / "list.txt"
        images.write_text("".join(f"{self.folder}/images/{key}.png\n" for key in self.keys))
        features = self.folder / "features.safetensors"
        self.plumbline("embed", "--checkpoint", self.folder / "run", "--images", images,
                       "--texts", texts, "--out", features)
        try:
            from safetensors.numpy import load_file
        except ImportError:
            load_file = None  # the other checks remain
        if load_file:
            pair = load_file(features)
            cosines = (pair["image_features"] * pair["text_features"]).sum(axis=1)
            for (key, score), cosine in zip(scores, cosines):
                self.assertAlmostEqual(score, float(cosine), places=5, msg=key)

        shards = self.folder / "shards"
        subprocess.run(["gzip", "-k", shards / "0.tar"], check=True)
        subprocess.run(["zstd", "-q", shards / "1.tar"], check=True)
        index = self.folder / "index"
        index.mkdir()
        packed = self.score(shards / "0.tar.gz", shards / "1.tar.zst", shards / "2.tar",
                            name="packed")
        self.assertEqual(packed, scores)
        self.assertEqual(self.score(self.plain, name="ranks", ranks=2), scores)
        pipe = self.plumbline("data", "score", f"pipe:cat {self.plain}", "--allow-pipe",
                              "--index-dir", index, "--checkpoint", self.folder / "run",
                              "--out", self.folder / "pipe.csv", "--json")
        self.assertEqual(json.loads(pipe.stdout)["scored"], COUNT)
        self.assertEqual((self.folder / "pipe.csv").read_text(),
                         (self.folder / "scores.csv").read_text())

    def test_filtering_by_scores_keeps_the_best(self):
        scores = dict(self.score(self.plain))
        kept = self.folder / "kept"
        self.plumbline("data", "filter", self.plain, "--scores", self.folder / "scores.csv",
                       "--keep-top", "0.3", "--out", kept)
        names = []
        for shard in sorted(kept.glob("*.tar")):
            with tarfile.open(shard) as tar:
                names += [name[:-4] for name in tar.getnames() if name.endswith(".txt")]
        best = sorted(scores, key=lambda key: (-scores[key], key))[:9]
        self.assertEqual(sorted(names), sorted(best))

    def test_a_refused_image_is_named_and_the_others_are_scored(self):
        broken = self.folder / "broken.tar"
        with tarfile.open(broken, "w") as tar:
            self.add(tar, "bad.png", (self.folder / "images" / "k000.png").read_bytes()[:60])
            self.add(tar, "bad.txt", b"a")
            self.add(tar, "good.png", (self.folder / "images" / "k001.png").read_bytes())
            self.add(tar, "good.txt", b"b")
        out = self.folder / "broken.csv"
        done = self.plumbline("data", "score", broken, "--checkpoint", self.folder / "run",
                              "--out", out, "--json", expect=1)
        document = json.loads(done.stdout)
        self.assertEqual(document["scored"], 1)
        self.assertTrue(document["refused"][0].startswith("bad: "), document)
        self.assertEqual(out.read_text().splitlines()[1].split(",")[0], "good")


if __name__ == "__main__":
    unittest.main()
