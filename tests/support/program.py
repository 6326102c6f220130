"""Runs the plumbline binary for tests: one rank or several under mpirun, in a temporary folder."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PLUMBLINE", ROOT / "build" / "release" / "plumbline"))

# A tiny ViT on generated pictures whose captions name what is in them, so that the loss falls.
RUN = """
run: {{name: tiny, dir: {dir}, seed: 3}}
model: {{name: tiny-vit}}
data:
  sources:
    - name: shapes
      synthetic: {{kind: pixels, samples: 512, classes: 8, size: 40}}
  train_transform: {{scale: [0.5, 1.0]}}
  threads: 1
  vshard: 16
  lanes: 8
  memory_mb: 512
train: {{global_batch: 16, steps: {steps}, threads: 1, device: cpu}}
optimizer: {{lr: 1.0e-3}}
schedule: {{warmup_steps: 5}}
checkpoint: {{every_steps: 0, every_minutes: 0}}
log: {{every_steps: 1, tensorboard: false}}
"""


class ProgramTest(unittest.TestCase):
    """A test with a folder of its own, removed afterwards."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="plumbline_test_"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_file(self, name="run", steps=20, text=RUN):
        path = self.folder / f"{name}.yaml"
        path.write_text(text.format(dir=self.folder / name, steps=steps))
        return path

    def plumbline(self, *arguments, ranks=0, expect=0, timeout=240):
        """Runs a command; `ranks` > 0 starts it under mpirun. Returns the completed process."""
        done = subprocess.run(command(*arguments, ranks=ranks), cwd=ROOT, env=environment(),
                              capture_output=True, text=True, timeout=timeout)
        self.assertEqual(done.returncode, expect,
                         f"{arguments}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def metrics(self, name="run"):
        return read_metrics(self.folder / name)


def command(*arguments, ranks=0):
    launcher = []
    if ranks:
        launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
                    "--mca", "btl_vader_single_copy_mechanism", "none", "-n", str(ranks)]
    return [*launcher, str(BINARY), *map(str, arguments)]


# What programs of this test run keep for each other; nothing of earlier ones, nothing for the user's.
CACHE = tempfile.TemporaryDirectory(prefix="plumbline_cache_")


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "XDG_CACHE_HOME": CACHE.name,
            "PLUMBLINE_ASSETS": str(ROOT / "assets")}


def read_metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def read_events(run):
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
