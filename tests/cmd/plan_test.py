"""`plumbline plan`: what it counts, what it refuses, that it starts and writes nothing."""

import io
import json
import os
import sys
import tarfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, RUN, ProgramTest


class Plan(ProgramTest):
    def plan(self, *arguments, expect=0):
        done = self.plumbline("plan", *arguments, "--json", expect=expect)
        return json.loads(done.stdout)

    def test_gpus_by_datasheets(self):
        path = self.run_file(steps=1000)
        vit = ["--set", "model.name=ViT-B-32", "--set", "train.precision=bf16",
               "--set", "train.global_batch=16384", "--set", "optimizer.zero1=true"]
        plan = self.plan(path, "--world", 16, "--device", "h100", *vit,
                         "--set", "plan.gpu_hour_price=2.5")
        self.assertTrue(plan["modelled"])
        self.assertEqual(plan["parameters"]["all"], 151277313)
        self.assertAlmostEqual(plan["flops"]["sample"] / 1e9, 44.3, delta=0.1)
        self.assertAlmostEqual(plan["step"]["seconds"],
                               sum(part["seconds"] for part in plan["step"]["parts"]))
        self.assertAlmostEqual(plan["run"]["cost"], 2.5 * plan["run"]["device_hours"])
        self.assertEqual(plan["checkpoint"]["bytes"], 12 * 151277313)
        self.assertTrue(0 < plan["speed"]["mfu"] < 0.5)
        self.assertEqual([point["world"] for point in plan["scaling"]],
                         [2 ** i for i in range(11)])
        other = self.plan(path, "--world", 16, "--device", "a100", *vit)
        self.assertLess(other["speed"]["samples_per_s"], plan["speed"]["samples_per_s"])
        self.assertIsNone(other["run"]["cost"])
        text = self.plumbline("plan", path, "--world", 16, "--device", "h100", *vit).stdout
        self.assertIn("151277313", text)
        self.assertIn("modelled", text)
        self.assertFalse((self.folder / "run").exists(), "a plan writes nothing")

    def test_what_does_not_fit(self):
        plan = self.plan(self.run_file(), "--device", "a100", "--set", "model.name=ViT-L-14",
                         "--set", "train.global_batch=8192", expect=1)
        self.assertFalse(plan["memory"]["fits"])
        self.assertIn("micro_batch", " ".join(plan["notes"]))

    def test_shards_are_counted_and_missing_ones_refused(self):
        shards = self.folder / "shards"
        shards.mkdir()
        for name in ("a", "b"):
            with tarfile.open(shards / f"{name}.tar", "w") as tar:
                for i in range(3):
                    for suffix, content in ((".jpg", b"x"), (".txt", b"a caption")):
                        member = tarfile.TarInfo(f"{name}{i}{suffix}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
        text = RUN.replace("synthetic: {{kind: pixels, samples: 512, classes: 8, size: 40}}",
                           f"shards: \"{shards}/*.tar\"")
        path = self.run_file(text=text)
        plan = self.plan(path, "--device", "h100")
        self.assertEqual((plan["data"][0]["shards"], plan["data"][0]["indexed"]), (2, 0))
        self.assertIn("2 of 2 shards have no index", " ".join(plan["notes"]))
        self.assertEqual(len(list(shards.iterdir())), 2, "a plan writes nothing")
        path = self.run_file("absent", text=text.replace("*.tar", "{{0..3}}.tar"))
        done = self.plumbline("plan", path, "--device", "h100", expect=2)
        self.assertIn("0.tar", done.stderr)

    def test_wrong_usage(self):
        path = self.run_file()
        self.plumbline("plan", path, "--device", "h900", expect=2)
        self.plumbline("plan", path, "--world", 0, expect=2)
        done = self.plumbline("plan", path, "--world", 64, "--device", "h100", expect=2)
        self.assertIn("fewer pairs than ranks", done.stderr)
        done = self.plumbline("plan", path, "--set", "plan.of_rooflin=1", expect=2)
        self.assertIn("of_roofline", done.stderr)

    def test_this_host_against_a_run(self):
        path = self.run_file(steps=12)
        plan = self.plan(path, "--device", "cpu")
        self.assertFalse(plan["modelled"])
        self.plumbline("train", path)
        measured = sorted(line["step_ms"] for line in self.metrics()[2:])
        ratio = plan["step"]["seconds"] * 1000 / measured[len(measured) // 2]
        # The tiny model is bound by the cost of calls, and tests share the cores.
        self.assertTrue(0.02 < ratio < 20, f"planned over measured: {ratio}")


class BenchComm(ProgramTest):
    def figures(self, ranks):
        document = json.loads(self.plumbline("bench", "comm", "--seconds", "0.01", "--input",
                                             "1024,65536", "--json", ranks=ranks).stdout)
        self.assertEqual(document["bench"], "comm")
        self.assertEqual([(f["collective"], f["bytes"]) for f in document["figures"]],
                         [(c, b) for b in (1024, 65536) for c in
                          ("all_reduce", "all_gather", "reduce_scatter", "broadcast")])
        for figure in document["figures"]:
            self.assertGreater(figure["latency_us"], 0)
            self.assertGreater(figure["ours"]["wall"], 0)
            self.assertAlmostEqual(figure["of_limit"], figure["ours"]["wall"] / figure["limit"])
        return document["figures"]

    def test_threads_without_a_launcher(self):
        for figure in self.figures(ranks=0):
            self.assertEqual((figure["backend"], figure["world"]), ("in-process", 2))
            self.assertIsNone(figure["peer"])

    def test_ranks_under_mpirun(self):
        for figure in self.figures(ranks=2):
            self.assertEqual((figure["backend"], figure["world"]), ("mpi", 2))
            self.assertGreater(figure["peer"]["wall"], 0)

    def test_bad_sizes(self):
        for sizes in ("1", "12x", "1024,,4", "99999999999"):
            done = self.plumbline("bench", "comm", "--input", sizes, expect=2)
            self.assertIn("message sizes", done.stderr)


class Ranks(ProgramTest):
    def test_what_a_run_says_about_its_ranks(self):
        self.plumbline("train", self.run_file(steps=6), ranks=2)
        lines = self.metrics()
        for line in lines:
            self.assertTrue(0 < line["busy_ms_min"] <= line["busy_ms_max"] <= line["step_ms"] * 1.01)
            self.assertGreater(line["comm_wait_ms"], 0)
            self.assertIn(line["slowest_rank"], (0, 1))
            self.assertIsNone(line["power_w"])
        events = [json.loads(line) for line in
                  (self.folder / "run" / "events.jsonl").read_text().splitlines()]
        table, = (event["ranks"] for event in events if event["event"] == "ranks")
        self.assertEqual({row["rank"] for row in table}, {0, 1})
        own = [row["step_ms"] - row["comm_wait_ms"] for row in table]
        self.assertEqual(own, sorted(own, reverse=True), "slowest first")
        for row in table:
            self.assertAlmostEqual(row["busy_ms"] + row["data_wait_ms"] + row["comm_wait_ms"],
                                   row["step_ms"])
        text = (self.folder / "run" / "metrics.prom").read_text()
        self.assertIn('plumbline_step{run="tiny"} 6\n', text)
        self.assertNotIn("mfu", text)


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
