"""Training as a user runs it: ranks, resume, signals, what the run folder holds."""

import json
import os
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest, command, environment, read_events, read_metrics

# Of a logged step, what does not depend on the clock.
STABLE = ["step", "samples", "epoch", "loss", "logit_scale", "lr", "grad_norm"]


def stable(metrics):
    return [{key: line[key] for key in STABLE} for line in metrics]


def moments(checkpoint):
    """The bytes of each moment tensor, its slices in the files of all ranks put together."""
    slices = {}
    for path in checkpoint.glob("optimizer-*.safetensors"):
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8:8 + length])
        starts = json.loads(header.pop("__metadata__").get("slices", "{}"))
        for name, tensor in header.items():
            begin, end = (8 + length + offset for offset in tensor["data_offsets"])
            first = starts.get(name.partition(".")[2], {"first": 0})["first"]
            slices.setdefault(name, {})[first] = content[begin:end]
    return {name: b"".join(part for _, part in sorted(parts.items()))
            for name, parts in slices.items()}


class Ranks(ProgramTest):
    def test_1_2_and_4_ranks_give_the_same_curve(self):
        curves = {}
        for ranks in (1, 2, 4):
            self.plumbline("train", self.run_file(f"r{ranks}"), ranks=ranks)
            curves[ranks] = [line["loss"] for line in self.metrics(f"r{ranks}")]
            world = json.loads((self.folder / f"r{ranks}" / "environment.json").read_text())["world"]
            self.assertEqual(world, ranks)
            self.assertEqual(len(curves[ranks]), 20)
            data = [e for e in read_events(self.folder / f"r{ranks}") if e["event"] == "data"][-1]
            self.assertEqual([s["delivered"] for s in data["sources"]], [20 * 16],
                             "the loaders of all ranks together")
        for ranks in (2, 4):
            for step, (a, b) in enumerate(zip(curves[1], curves[ranks]), 1):
                self.assertLess(abs(a - b), 2e-5 * abs(a), f"{ranks} ranks, step {step}")
        self.assertLess(curves[1][-1], curves[1][0])

    def test_accumulation_equals_the_whole_batch(self):
        self.plumbline("train", self.run_file("whole"))
        self.plumbline("train", self.run_file("parts"), "--set", "train.micro_batch=4")
        for a, b in zip(self.metrics("whole"), self.metrics("parts")):
            self.assertLess(abs(a["loss"] - b["loss"]), 2e-5 * abs(a["loss"]), a["step"])

    def test_a_classifier_learns_the_same_on_ranks_and_in_parts(self):
        names = self.folder / "names.txt"
        names.write_text("".join(f"shape {i}\n" for i in range(8)))
        supervised = ["--set", f"model.classes={names}", "--set", "loss.kind=cross_entropy",
                      "--set", "data.sources.0.captions=none"]
        self.plumbline("train", self.run_file("one"), *supervised)
        self.plumbline("train", self.run_file("two"), *supervised, ranks=2)
        self.plumbline("train", self.run_file("parts"), *supervised, "--set", "train.micro_batch=4")
        one = self.metrics("one")
        self.assertLess(one[-1]["loss"], one[0]["loss"] - 0.5)
        for name in ("two", "parts"):
            for a, b in zip(one, self.metrics(name)):
                self.assertLess(abs(a["loss"] - b["loss"]), 2e-5 * abs(a["loss"]), (name, a["step"]))
        self.plumbline("train", self.run_file("few"), *supervised, "--set",
                       "data.sources.0.synthetic.classes=9")
        quarantine = (self.folder / "few" / "quarantine.jsonl").read_text().splitlines()
        self.assertEqual(len(quarantine), self.metrics("few")[-1]["bad_samples"])
        self.assertGreater(len(quarantine), 10)  # about 1 of 9 is of the ninth class
        self.assertTrue(all(json.loads(line)["class"] == "no_label" for line in quarantine))

    def test_zero1_changes_no_bit_of_weights_and_moments(self):
        for name, zero1 in (("parts", "true"), ("whole", "false")):
            self.plumbline("train", self.run_file(name), "--set", f"optimizer.zero1={zero1}",
                           ranks=4)
        for parts, whole in zip(self.metrics("parts"), self.metrics("whole")):
            self.assertEqual(parts["loss"], whole["loss"], parts["step"])
            self.assertAlmostEqual(parts["grad_norm"] / whole["grad_norm"], 1, delta=1e-12)
        parts, whole = (self.folder / name / "checkpoints" / "step-00000020"
                        for name in ("parts", "whole"))
        self.assertEqual((parts / "model.safetensors").read_bytes(),
                         (whole / "model.safetensors").read_bytes())
        self.assertEqual(len(list(parts.glob("optimizer-*-of-00004.safetensors"))), 4)
        self.assertEqual(moments(parts), moments(whole))

    def test_two_runs_are_bitwise_equal(self):
        self.plumbline("train", self.run_file("a"), ranks=2)
        self.plumbline("train", self.run_file("b"), ranks=2)
        self.assertEqual(stable(self.metrics("a")), stable(self.metrics("b")))


class Resume(ProgramTest):
    def test_signal_and_resume_equal_the_uninterrupted_run(self):
        steps = 300
        self.plumbline("train", self.run_file("whole", steps))
        config = self.run_file("cut", steps)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            process = subprocess.Popen(command("train", config), cwd=ROOT, env=environment(),
                                       stderr=subprocess.PIPE, text=True)
            self.wait_for_steps(self.folder / "cut", number)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 75, stderr)
        stopped = self.metrics("cut")[-1]["step"]
        self.assertLess(stopped, steps)
        self.plumbline("train", config)
        self.assertEqual(stable(self.metrics("cut")), stable(self.metrics("whole")))
        events = [event["event"] for event in read_events(self.folder / "cut")]
        self.assertEqual(events.count("start"), 1)
        self.assertEqual(events.count("resume"), 2)
        self.assertEqual(events.count("signal"), 2)

    def wait_for_steps(self, run, number):
        want = 20 if number == signal.SIGTERM else 60
        for _ in range(600):
            time.sleep(0.05)
            if (run / "metrics.jsonl").exists() and len(read_metrics(run)) >= want:
                return
        self.fail("no steps within 30 s")

    def test_resume_under_mpirun_on_another_number_of_ranks(self):
        self.plumbline("train", self.run_file("whole", 20), ranks=2)
        self.plumbline("train", self.run_file("cut", 20), "--set", "checkpoint.every_steps=10",
                       "--set", "checkpoint.keep_last=9", "--set", "checkpoint.background=false",
                       ranks=2)
        run = self.folder / "cut"
        last = run / "checkpoints" / "step-00000020"
        for file in last.iterdir():
            file.unlink()
        last.rmdir()
        self.plumbline("train", self.folder / "cut.yaml", ranks=1)
        for a, b in zip(self.metrics("whole"), self.metrics("cut")):
            self.assertEqual(a["step"], b["step"])
            self.assertLess(abs(a["loss"] - b["loss"]), 2e-5 * abs(a["loss"]), a["step"])

    def test_the_average_of_the_weights_goes_on_where_it_stood(self):
        ema = ("--set", "train.ema=0.9", "--set", "checkpoint.every_steps=10",
               "--set", "checkpoint.keep_last=9")
        self.plumbline("train", self.run_file("whole"), *ema)
        self.plumbline("train", self.run_file("cut"), *ema)
        checkpoints = self.folder / "cut" / "checkpoints"
        for file in (checkpoints / "step-00000020").iterdir():
            file.unlink()
        self.plumbline("train", self.folder / "cut.yaml", *ema)
        files = [self.folder / name / "checkpoints" / "step-00000020"
                 for name in ("whole", "cut")]
        for file in ("model.safetensors", "model_ema.safetensors"):
            self.assertEqual((files[0] / file).read_bytes(), (files[1] / file).read_bytes(), file)
        self.assertNotEqual((files[0] / "model.safetensors").read_bytes(),
                            (files[0] / "model_ema.safetensors").read_bytes())

    def test_damaged_checkpoint_falls_back_to_the_one_before(self):
        config = self.run_file("run", 20)
        self.plumbline("train", config, "--set", "checkpoint.every_steps=10")
        model = self.folder / "run" / "checkpoints" / "step-00000020" / "model.safetensors"
        content = bytearray(model.read_bytes())
        content[len(content) // 2] ^= 1
        model.write_bytes(content)
        self.plumbline("checkpoint", "verify", self.folder / "run", expect=1)
        done = self.plumbline("train", config)
        self.assertIn("does not have the checksum", done.stderr)
        self.assertIn("going on after step 10", done.stderr)
        self.assertTrue((model.parent.parent / "step-00000020.corrupt").exists())
        self.plumbline("checkpoint", "verify", self.folder / "run")

    def test_a_complete_run_is_left_alone(self):
        config = self.run_file()
        self.plumbline("train", config)
        before = stable(self.metrics())
        done = self.plumbline("train", config)
        self.assertIn("already complete", done.stderr)
        self.assertEqual(stable(self.metrics()), before)


class RunFolder(ProgramTest):
    def test_resolved_configuration_repeats_the_run(self):
        self.plumbline("train", self.run_file("a"))
        self.plumbline("train", self.folder / "a" / "config.yaml", "--set",
                       f"run.dir={self.folder / 'b'}")
        self.assertEqual(stable(self.metrics("a")), stable(self.metrics("b")))

    def test_tensorboard_reads_the_scalars(self):
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError as error:
            self.skipTest(f"no tensorboard: {error}")
        self.plumbline("train", self.run_file(), "--set", "log.tensorboard=true")
        events = EventAccumulator(str(self.folder / "run" / "tensorboard"))
        events.Reload()
        scalars = events.Scalars("train/loss")
        metrics = self.metrics()
        self.assertEqual([s.step for s in scalars], [m["step"] for m in metrics])
        for s, m in zip(scalars, metrics):
            self.assertAlmostEqual(s.value, m["loss"], places=5)

    def test_checkpoint_list_is_json(self):
        self.plumbline("train", self.run_file())
        listed = json.loads(self.plumbline("checkpoint", "list", self.folder / "run", "--json").stdout)
        self.assertEqual([Path(c["path"]).name for c in listed], ["step-00000020"])
        self.assertEqual((self.folder / "run" / "checkpoints" / "latest").read_text(),
                         "step-00000020\n")


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
