"""Bad input gets one clear sentence and the documented exit code, or is counted and survived."""

import io
import os
import struct
import sys
import tarfile
import unittest
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest

SHARDS = """
run: {{name: shards, dir: {dir}, seed: 3}}
model: {{name: tiny-vit}}
data:
  sources: [{{name: s, shards: "%s"}}]
  threads: 1
  vshard: 4
  lanes: 4
  memory_mb: 512
  errors: {{max_rate: %s}}
train: {{global_batch: 8, steps: {steps}, threads: 1, device: cpu}}
schedule: {{warmup_steps: 0}}
checkpoint: {{every_minutes: 0}}
log: {{every_steps: 1, tensorboard: false}}
"""


def png(seed, size=40):
    """A valid RGB PNG of a flat colour."""
    colour = bytes([seed * 37 % 256, seed * 91 % 256, seed * 53 % 256])
    rows = b"".join(b"\0" + colour * size for _ in range(size))

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_shard(path, samples):
    """samples: (key, image bytes, caption) each."""
    with tarfile.open(path, "w") as tar:
        for key, image, caption in samples:
            for suffix, content in ((".png", image), (".txt", caption.encode())):
                member = tarfile.TarInfo(key + suffix)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def good(n):
    return [(f"s{i:03d}", png(i), f"picture number {i}") for i in range(n)]


class Configuration(ProgramTest):
    def fails(self, *arguments, code=2, says):
        done = self.plumbline(*arguments, expect=code)
        self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        return done

    def test_unknown_key_names_file_line_and_suggestion(self):
        config = self.run_file()
        text = config.read_text().replace("optimizer: {lr: 1.0e-3}", "optimizer: {beta: [0.9, 0.9]}")
        config.write_text(text)
        line = text.splitlines().index("optimizer: {beta: [0.9, 0.9]}") + 1
        self.fails("train", config, says=[f"{config}:{line}:", "unknown key 'optimizer.beta'",
                                          "did you mean 'optimizer.betas'?"])
        self.assertFalse((self.folder / "run").exists())

    def test_wrong_values(self):
        config = self.run_file()
        for override, text in [("train.global_batch=many", "expected an integer"),
                               ("optimizer.lr=-1", "must lie in"),
                               ("data.sampling=sometimes", "expected one of: permute, replace"),
                               ("model.name=ViT-Z-99", "ViT-Z-99"),
                               ("loss.kind=hinge", "hinge"),
                               ("train.samples=100", "exactly one of"),
                               ("tokenizer.context_length=33", "context_length")]:
            with self.subTest(override):
                self.fails("train", config, "--set", override, says=[text])
        self.assertFalse((self.folder / "run").exists())

    def test_missing_file_and_bad_syntax(self):
        self.fails("train", self.folder / "absent.yaml", says=["absent.yaml"])
        bad = self.folder / "bad.yaml"
        bad.write_text("run: {name: x\ndata: 3\n")
        self.fails("train", bad, says=[f"{bad}:", "not valid YAML"])

    def test_batch_that_the_ranks_cannot_share(self):
        done = self.plumbline("train", self.run_file(), "--set", "train.global_batch=15", ranks=2,
                              expect=2)
        self.assertIn("15", done.stderr)

    def test_run_folder_that_cannot_be_written(self):
        blocked = self.folder / "file"
        blocked.write_text("in the way")
        self.fails("train", self.run_file(), "--set", f"run.dir={blocked}/run", code=1,
                   says=["cannot create the run folder", str(blocked)])

    def test_resume_with_another_model(self):
        config = self.run_file()
        self.plumbline("train", config)
        self.fails("train", config, "--set", "model.name=tiny-rn", "--set", "train.steps=30",
                   says=["the model of", "step-00000020", "differs"])
        self.fails("train", config, "--resume", "never", says=["already holds checkpoints"])

    def test_resume_that_would_spoil_the_run(self):
        config = self.run_file()
        self.plumbline("train", config, "--set", "checkpoint.every_steps=10")
        older = self.folder / "run" / "checkpoints" / "step-00000010"
        self.fails("train", config, "--resume", older, says=["is older than", "step-00000020"])
        self.fails("train", config, "--set", "train.global_batch=32",
                   says=["train.global_batch is 32", "320 pairs in 20 steps"])
        self.assertEqual(len(self.metrics()), 20)

    def test_usage(self):
        self.plumbline("fly", expect=2)
        self.plumbline("train", expect=2)
        self.plumbline(expect=2)


class Data(ProgramTest):
    def shard_run(self, samples, max_rate=0.5, steps=6):
        write_shard(self.folder / "0.tar", samples)
        return self.run_file(steps=steps, text=SHARDS % (self.folder / "0.tar", max_rate))

    def test_missing_shard(self):
        config = self.run_file(text=SHARDS % (self.folder / "{{00..02}}.tar", 0.01))
        done = self.plumbline("train", config, expect=2)
        self.assertIn(str(self.folder / "00.tar"), done.stderr)

    def test_corrupt_image_is_counted_and_replaced(self):
        samples = good(24)
        broken = bytearray(samples[5][1])
        broken[len(broken) // 2] ^= 0xFF  # inside IDAT: its CRC no longer fits
        samples[5] = ("s005", bytes(broken), "a broken picture")
        self.plumbline("train", self.shard_run(samples))
        self.assertGreaterEqual(self.metrics()[-1]["bad_samples"], 1)
        quarantine = (self.folder / "run" / "quarantine.jsonl").read_text()
        self.assertIn("s005", quarantine)
        self.assertIn("decode", quarantine)

    def test_budget_of_bad_samples(self):
        samples = [(key, b"not an image at all", caption) if i % 2 else (key, image, caption)
                   for i, (key, image, caption) in enumerate(good(24))]
        config = self.shard_run(samples)
        config.write_text(config.read_text().replace("max_rate: 0.5",
                                                     "max_rate: 0.5, max_consecutive: 1"))
        self.plumbline("train", config, expect=65)

    def test_empty_caption_is_left_out(self):
        samples = good(24)
        samples[3] = (samples[3][0], samples[3][1], "  ")
        self.plumbline("train", self.shard_run(samples))
        order = self.plumbline("data", "order", self.folder / "run.yaml", "--steps", "9").stdout
        self.assertIn("s004", order)
        checked = self.plumbline("data", "check", self.folder / "0.tar", expect=1).stdout
        self.assertIn("empty_text", checked)

    def test_truncated_tar(self):
        config = self.shard_run(good(24))
        shard = self.folder / "0.tar"
        shard.write_bytes(shard.read_bytes()[:-12000])
        done = self.plumbline("data", "check", shard, expect=1)
        self.assertIn("truncated", done.stdout)
        self.assertIn(str(shard), done.stdout)
        self.plumbline("train", config, "--set", "train.steps=2")

    def test_no_valid_sample(self):
        config = self.shard_run([(k, b"nothing", c) for k, _, c in good(24)])
        done = self.plumbline("train", config, expect=65)
        self.assertIn("error:", done.stderr)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
