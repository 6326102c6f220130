"""A training job that runs while a test does something to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest, command, environment, read_events

# Of a logged step, what does not depend on the clock.
STABLE = ["step", "samples", "epoch", "loss", "logit_scale", "lr", "grad_norm"]
STEPS = 60
WHOLE = {}
# Ranks that wait give their core to the others: machines with fewer cores than ranks run this too.
os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")


def stable(metrics):
    return [{key: line[key] for key in STABLE} for line in metrics]


def ranks_of(launcher):
    """Process ids of the plumbline processes below `launcher`, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        rank = [v for v in variables if v.startswith(b"OMPI_COMM_WORLD_RANK=")]
        if parent == launcher and rank:
            found[int(rank[0].partition(b"=")[2])] = int(entry.name)
    return found


class Fault(ProgramTest):
    def start(self, config, *arguments, ranks=2, variables=None):
        job = subprocess.Popen(command("train", config, *arguments, ranks=ranks), cwd=ROOT,
                               env={**environment(), **(variables or {})},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, job)
        return job

    @staticmethod
    def end(job):
        """Of a job that a failed test has left running; a stopped rank must be able to end."""
        if job.poll() is None:
            for pid in ranks_of(job.pid).values():
                Fault.send(pid, signal.SIGKILL)
            job.kill()
            job.communicate()

    @staticmethod
    def send(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def wait_for_step(self, run, step, job=None):
        for _ in range(4800):
            time.sleep(0.05)
            path = run / "metrics.jsonl"
            if path.exists() and path.read_text().count("\n") >= step:
                return
            if job is not None and job.poll() is not None:
                self.fail(f"the job ended with {job.returncode}: {job.communicate()[1]}")
        self.fail(f"no step {step} within 240 s")

    def events(self, name="run"):
        return read_events(self.folder / name)

    def whole(self, ranks=2):
        """The metrics of a run without faults; made once for all tests of a process."""
        if ranks not in WHOLE:
            self.plumbline("train", self.run_file("whole", STEPS), ranks=ranks)
            WHOLE[ranks] = stable(self.metrics("whole"))
        return WHOLE[ranks]
