"""Ranks started without MPI, by torchrun and by plain variables, train as under mpirun."""

import socket
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import BINARY, ROOT, ProgramTest, environment

TORCHRUN = ROOT / ".venv" / "bin" / "torchrun"


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


class Launch(ProgramTest):
    def losses(self, name):
        return [(line["step"], line["loss"], line["grad_norm"]) for line in self.metrics(name)]

    def train(self, name, *more):
        return [str(BINARY), "train", str(self.run_file(name, steps=4)), *more]

    def two_processes(self, arguments, port, ranks=(0, 1)):
        return [subprocess.Popen(
            arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**environment(), "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
                 "MASTER_PORT": str(port)}) for rank in ranks]

    def test_equals_mpirun(self):
        self.plumbline("train", self.run_file("mpi", steps=4), ranks=2)
        expected = self.losses("mpi")
        self.assertEqual(len(expected), 4)

        processes = self.two_processes(self.train("env"), free_port())
        for process in processes:
            _, stderr = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, stderr)
        self.assertEqual(self.losses("env"), expected)

        if not TORCHRUN.exists():
            self.skipTest("no torchrun in .venv: the plain variables were compared")
        done = subprocess.run(
            [str(TORCHRUN), "--standalone", "--nproc-per-node", "2", "--no-python",
             *self.train("torchrun")], cwd=ROOT, env=environment(), capture_output=True, text=True,
            timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.losses("torchrun"), expected)

    def test_a_refused_run_says_so_once_and_leaves_nothing(self):
        processes = self.two_processes(self.train("bad", "--set", "optimizer.lr=-1"), free_port())
        errors = []
        for process in processes:
            _, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 2, stderr)
            errors.append(stderr)
        self.assertIn("optimizer.lr", errors[0])
        self.assertEqual(errors[1], "")
        self.assertFalse((self.folder / "bad").exists())

    def test_a_killed_rank_ends_the_others(self):
        arguments = [str(BINARY), "train", str(self.run_file("killed", steps=100000))]
        processes = self.two_processes(arguments, free_port())
        metrics = self.folder / "killed" / "metrics.jsonl"
        for _ in range(600):
            if metrics.exists() and metrics.stat().st_size:
                break
            try:
                processes[0].wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        processes[1].kill()
        _, stderr = processes[0].communicate(timeout=30)
        processes[1].communicate()
        self.assertEqual(processes[0].returncode, 1, stderr)
        self.assertRegex(stderr, r"rank 1 on \S+ is lost")

    def test_half_an_announcement_is_refused(self):
        done = subprocess.run(self.train("half"), cwd=ROOT, capture_output=True, text=True, timeout=60,
                              env={**environment(), "WORLD_SIZE": "2", "RANK": "0"})
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("MASTER_ADDR", done.stderr)
        self.assertFalse((self.folder / "half").exists())


if __name__ == "__main__":
    unittest.main()
