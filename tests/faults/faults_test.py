"""Faults done to a running job: killed, stopped and signalled ranks, a full disk, torn checkpoints,
a clock that jumps. After each, the same command goes on and its metrics equal those of a run
without faults.
"""

import os
import signal
import subprocess
import time
import unittest

from job import ROOT, STEPS, Fault, command, environment, ranks_of, read_events, stable
from program import read_metrics

# A wall clock that is wrong by the seconds in the file $CLOCK_OFFSET.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec* t) {
  static int (*real)(clockid_t, struct timespec*) = 0;
  if (!real) real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, t);
  if (id != CLOCK_REALTIME) return result;
  FILE* f = fopen(getenv("CLOCK_OFFSET"), "r");
  long offset = 0;
  if (f && fscanf(f, "%ld", &offset) == 1) t->tv_sec += offset;
  if (f) fclose(f);
  return result;
}
"""


class Ranks(Fault):
    CHECKPOINTS = ("--set", "checkpoint.every_steps=10")

    def test_a_killed_rank_ends_the_job_and_the_run_goes_on(self):
        whole, config = self.whole(), self.run_file("cut", STEPS)
        for step, victim in ((15, 1), (35, 0)):
            job = self.start(config, *self.CHECKPOINTS)
            self.wait_for_step(self.folder / "cut", step, job)
            self.send(ranks_of(job.pid)[victim], signal.SIGKILL)
            began = time.monotonic()
            _, stderr = job.communicate(timeout=200)
            self.assertNotIn(job.returncode, (0, 75), "not an end of the program's own")
            self.assertLess(time.monotonic() - began, 20)
            self.assertRegex(stderr, rf"rank {victim}\b.*signal 9|signal 9.*rank {victim}\b", stderr)
        self.plumbline("train", config, *self.CHECKPOINTS, ranks=2)
        self.assertEqual(stable(self.metrics("cut")), whole)
        events = [event["event"] for event in self.events("cut")]
        self.assertEqual((events.count("start"), events.count("resume")), (1, 2))

    def test_a_stopped_rank_is_found_by_the_watchdog(self):
        job = self.start(self.run_file("run", 100000), "--set", "watchdog.timeout_s=2")
        self.wait_for_step(self.folder / "run", 10, job)
        os.kill(ranks_of(job.pid)[1], signal.SIGSTOP)
        _, stderr = job.communicate(timeout=200)
        self.assertEqual(job.returncode, 75, stderr)
        self.assertRegex(stderr, r"rank 0: no progress for \d+ s in the stage '[^']+' of step \d+")

    def test_a_storm_of_signals_and_a_slow_rank_change_nothing(self):
        whole, config = self.whole(), self.run_file("cut", STEPS)
        job = self.start(config)
        self.wait_for_step(self.folder / "cut", 10, job)
        ranks = ranks_of(job.pid)
        self.send(ranks[1], signal.SIGSTOP)
        time.sleep(0.7)
        self.send(ranks[1], signal.SIGCONT)
        for _ in range(20):
            for pid in ranks.values():
                self.send(pid, signal.SIGTERM)
            time.sleep(0.002)
        _, stderr = job.communicate(timeout=200)
        self.assertEqual(job.returncode, 75, stderr)
        self.plumbline("train", config, ranks=2)
        self.assertEqual(stable(self.metrics("cut")), whole)

    def test_a_second_interrupt_ends_at_once(self):
        job = self.start(self.run_file("run", 100000), ranks=0)
        self.wait_for_step(self.folder / "run", 3, job)
        # Stopped, so that both stand before it when it goes on: it has no time for a checkpoint.
        job.send_signal(signal.SIGSTOP)
        job.send_signal(signal.SIGINT)
        job.send_signal(signal.SIGCONT)
        job.send_signal(signal.SIGINT)
        _, stderr = job.communicate(timeout=100)
        self.assertEqual(job.returncode, 75, stderr)

    def test_a_clock_that_jumps_changes_nothing(self):
        library, offset = self.folder / "clock.so", self.folder / "offset"
        (self.folder / "clock.c").write_text(CLOCK)
        built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library,
                                self.folder / "clock.c", "-ldl"], capture_output=True, text=True,
                               check=False)
        if built.returncode != 0:
            self.skipTest(f"no C compiler: {built.stderr}")
        whole = self.whole(ranks=0)
        offset.write_text("0")
        job = self.start(self.run_file("jumps", STEPS), "--set", "checkpoint.every_minutes=60",
                         ranks=0, variables={"LD_PRELOAD": str(library),
                                             "CLOCK_OFFSET": str(offset)})
        for step, seconds in ((10, "864000"), (25, "-864000"), (40, "0")):
            self.wait_for_step(self.folder / "jumps", step, job)
            offset.write_text(seconds)
        _, stderr = job.communicate(timeout=200)
        self.assertEqual(job.returncode, 0, stderr)
        self.assertEqual(stable(self.metrics("jumps")), whole)
        times = [event["time"] for event in self.events("jumps")]
        self.assertGreater(max(times) - min(times), 0)


class Start(Fault):
    def test_a_refused_command_leaves_nothing_behind(self):
        config = self.run_file()
        no_shard = ("--set", "data.sources.0.synthetic.kind=", "--set",
                    "data.sources.0.shards=nowhere.tar")
        for wrong in (("--set", "train.global_batch=17"), no_shard,
                      ("--set", "checkpoint.keep_best=x.top1"),
                      ("--resume", self.folder / "nowhere")):
            with self.subTest(wrong=wrong):
                self.plumbline("train", config, *wrong, ranks=2, expect=2)
                self.assertEqual([p.name for p in self.folder.iterdir()], ["run.yaml"])

    def test_ranks_with_different_configurations_are_refused_by_name(self):
        config, launcher = self.run_file(), command("train", ranks=1)
        one, program = launcher[:launcher.index("-n")], launcher[-2:]
        done = subprocess.run([*one, "-n", "1", *program, str(config), ":", "-n", "1", *program,
                               str(config), "--set", "optimizer.lr=0.5"], cwd=ROOT,
                              env=environment(), capture_output=True, text=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("rank 1 was started with another configuration", done.stderr)
        self.assertIn("lr: 0.5", done.stderr)
        self.assertFalse((self.folder / "run").exists())


class Disk(Fault):
    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", self.disk],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no small tmpfs can be mounted: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=False)

    def start_on_disk(self, *arguments):
        config = self.run_file("full", 100000)
        config.write_text(config.read_text().replace(str(self.folder / "full"),
                                                     str(self.disk / "run")))
        job = self.start(config, *arguments)
        self.wait_for_step(self.disk / "run", 20, job)
        return job

    def fill(self):
        with (self.disk / "filler").open("wb", buffering=0) as file:
            for size in (1 << 20, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    pass

    def test_a_full_disk_costs_lines_and_not_the_run(self):
        job = self.start_on_disk()
        self.fill()
        time.sleep(1.5)
        self.assertIsNone(job.poll(), "a full disk ended the run")
        (self.disk / "filler").unlink()
        time.sleep(0.5)
        job.send_signal(signal.SIGUSR1)
        _, stderr = job.communicate(timeout=200)
        self.assertEqual(job.returncode, 75, stderr)
        self.assertIn("metrics.jsonl: No space left on device", stderr)
        self.assertIn("metrics.jsonl can be written again", stderr)
        steps = [line["step"] for line in read_metrics(self.disk / "run")]  # every line is whole
        self.assertEqual(steps, sorted(set(steps)))
        self.assertLess(len(steps), steps[-1], "no line was lost: the disk was not full")
        self.plumbline("checkpoint", "verify", self.disk / "run")

    def test_checkpoints_that_do_not_fit_end_the_run_resumable_and_keep_the_good_one(self):
        job = self.start_on_disk("--set", "checkpoint.every_steps=10")
        self.fill()
        _, stderr = job.communicate(timeout=120)
        self.assertEqual(job.returncode, 75, stderr)
        self.assertIn("could not be written (3 in a row); the last good one is kept", stderr)
        self.plumbline("checkpoint", "verify", self.disk / "run")


class Checkpoints(Fault):
    EVERY = ("--set", "checkpoint.every_steps=10", "--set", "checkpoint.keep_last=9")

    def test_a_checkpoint_torn_anywhere_falls_back_to_the_one_before(self):
        config = self.run_file("run", 20)
        self.plumbline("train", config, *self.EVERY, ranks=2)
        whole = stable(self.metrics())
        folder = self.folder / "run" / "checkpoints" / "step-00000020"
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.assertGreaterEqual(len(kept), 5)
        for name, content in kept.items():
            for what, torn in (("empty", b""), ("half", content[:len(content) // 2]),
                               ("flipped", content[:9] + bytes([content[9] ^ 1]) + content[10:])):
                with self.subTest(file=name, torn=what):
                    (folder / name).write_bytes(torn)
                    done = self.plumbline("checkpoint", "verify", folder, "--json", expect=1)
                    self.assertIn(name, done.stdout)
            (folder / name).write_bytes(content)
        (folder / "optimizer-00001-of-00002.safetensors").write_bytes(b"")
        self.plumbline("train", config, *self.EVERY, ranks=2)
        self.assertEqual(stable(self.metrics()), whole)

    def test_4_ranks_then_1_then_3_give_the_curve_of_one(self):
        batch = ("--set", "train.global_batch=12", "--set", "data.lanes=0")
        self.plumbline("train", self.run_file("whole", 30), *batch)
        config, run = self.run_file("moved", 30), self.folder / "moved" / "checkpoints"
        for ranks, lost in ((4, (20, 30)), (1, (30,)), (3, ())):
            self.plumbline("train", config, *batch, *self.EVERY, ranks=ranks)
            newest = run / "step-00000030"
            self.assertTrue((newest / f"optimizer-00000-of-{ranks:05}.safetensors").exists())
            for step in lost:
                for file in (run / f"step-{step:08}").iterdir():
                    file.unlink()
                (run / f"step-{step:08}").rmdir()
        for a, b in zip(self.metrics("whole"), self.metrics("moved"), strict=True):
            self.assertEqual((a["step"], a["samples"]), (b["step"], b["samples"]))
            self.assertLess(abs(a["loss"] - b["loss"]), 2e-5 * abs(a["loss"]), a["step"])


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
