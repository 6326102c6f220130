"""A run that goes wrong from inside: loss that is not finite, a flipped bit in one rank's memory.

The faults are real: bytes are changed in the memory of a running rank, in the frozen text tower,
whose values a checkpoint tells.
"""

import json
import os
import signal
import struct
import unittest
from pathlib import Path

from job import ROOT, Fault, ranks_of, stable

BATCH = ("--set", "model.lock_text=true", "--set", "train.global_batch=12", "--set",
         "data.lanes=0", "--set", "checkpoint.every_steps=10")
PATTERN_BYTES = 256


def tensor_bytes(path, name):
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    begin, end = json.loads(content[8:8 + length])[name]["data_offsets"]
    return content[8 + length + begin:8 + length + end]


def change_memory(pid, pattern, change):
    """Replaces the first bytes of every copy of `pattern` in the process by change(them)."""
    places = []
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            begin, end = (int(x, 16) for x in span.split("-"))
            if not mode.startswith("rw") or end - begin > 1 << 30:
                continue
            try:
                memory.seek(begin)
                content = memory.read(end - begin)
            except (OSError, ValueError):
                continue
            at = content.find(pattern)
            while at >= 0:
                places.append(begin + at)
                at = content.find(pattern, at + 1)
        for place in places:
            memory.seek(place)
            memory.write(change(pattern[:4]))
    return len(places)


class Health(Fault):
    def strike(self, change, *arguments, ranks, steps):
        """Starts a job, changes 4 bytes of the last rank's text_projection once it runs."""
        job = self.start(self.run_file("run", steps), *BATCH, *arguments, ranks=ranks)
        run = self.folder / "run"
        self.wait_for_step(run, 25, job)
        pids = ranks_of(job.pid)
        for pid in pids.values():
            self.send(pid, signal.SIGSTOP)
        kept = sorted((run / "checkpoints").glob("step-*/manifest.json"))[0].parent
        pattern = tensor_bytes(kept / "model.safetensors", "text_projection")[:PATTERN_BYTES]
        try:
            found = change_memory(pids[ranks - 1], pattern, change)
        except PermissionError as error:
            for pid in pids.values():
                self.send(pid, signal.SIGCONT)
            self.skipTest(f"the memory of a process cannot be written here: {error}")
        for pid in pids.values():
            self.send(pid, signal.SIGCONT)
        self.assertGreaterEqual(found, 1)
        _, stderr = job.communicate(timeout=300)
        return job.returncode, stderr

    def test_weights_that_become_nan_come_back_from_the_checkpoint(self):
        code, stderr = self.strike(lambda _: struct.pack("<f", float("nan")), "--set",
                                   "nan.max_consecutive=3", ranks=2, steps=80)
        self.assertEqual(code, 0, stderr)
        metrics = self.metrics()
        self.assertEqual([m["step"] for m in metrics], list(range(1, 81)))
        skipped = [m["step"] for m in metrics if m["loss"] is None]
        self.assertEqual(len(skipped), 3)
        self.assertEqual((metrics[-1]["skipped_steps"], metrics[-1]["rollbacks"]), (3, 1))
        self.assertTrue(all(m["loss"] is not None for m in metrics[skipped[-1]:]))
        events = {name: [e for e in self.events() if e["event"] == name]
                  for name in ("skipped_step", "rollback")}
        self.assertEqual([e["step"] for e in events["skipped_step"]], skipped)
        back = events["rollback"][0]
        self.assertEqual((back["since"], back["last_lost_step"]), (skipped[0], skipped[-1]))
        self.assertEqual(back["first_lost_step"], back["checkpoint"] + 1)
        order = self.plumbline("data", "order", self.folder / "run" / "config.yaml", "--from",
                               skipped[0] - 1, "--steps", 1).stdout  # counted from 0
        self.assertEqual(events["skipped_step"][0]["keys"], json.loads(order)["keys"])
        self.plumbline("checkpoint", "verify", self.folder / "run")

    def test_a_flipped_bit_is_found_its_rank_named_and_the_run_goes_on_unharmed(self):
        code, stderr = self.strike(lambda b: bytes([b[0] ^ 1]) + b[1:], ranks=3, steps=60)
        self.assertEqual(code, 75, stderr)
        self.assertRegex(stderr, r"after step \d+ the weights differ from those of the other 2 "
                                 r"ranks on rank 2 on ")
        self.plumbline("train", self.folder / "run.yaml", *BATCH, ranks=3)
        self.plumbline("train", self.run_file("whole", 60), *BATCH, ranks=3)
        self.assertEqual(stable(self.metrics()), stable(self.metrics("whole")))

    def test_a_run_that_cannot_be_saved_is_given_up_with_an_explanation(self):
        wild = ("--set", "optimizer.lr=1000", "--set", "optimizer.weight_decay=100",
                "--set", "schedule.warmup_steps=0", "--set", "nan.max_consecutive=3")
        done = self.plumbline("train", self.run_file("none", 60), *wild, expect=70)
        self.assertIn("no checkpoint from before can come back; the run is given up", done.stderr)
        done = self.plumbline("train", self.run_file("some", 60), *wild, "--set",
                              "checkpoint.every_steps=1", expect=70)
        self.assertIn("1 rollback(s) of this run did not help; the run is given up", done.stderr)
        self.assertEqual([e["event"] for e in self.events("some")].count("rollback"), 1)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
