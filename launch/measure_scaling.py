#!/usr/bin/env python3
"""Plans against measured runs on this machine's cores, and the scaling of such runs.

  launch/measure_scaling.py models            one rank, one thread: step time and peak memory
  launch/measure_scaling.py ranks             1, 2 and 4 ranks: the same batch, the same rows a rank
  launch/measure_scaling.py curve [--set K=V] the planned curve to 1024 GPUs of ViT-B-32

Prints Markdown tables (docs/explanation/scaling.md holds them). Pictures are generated, so that no
decoding is measured. The program is build/release/plumbline, or what PLUMBLINE names. `models` and
`ranks` take some minutes and want an idle machine.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = os.environ.get("PLUMBLINE", str(ROOT / "build" / "release" / "plumbline"))

RUN = """
run: {{dir: {folder}/run}}
model: {{name: {model}, pack_text: "off"}}
data:
  sources: [{{name: made, synthetic: {{kind: pixels, samples: 4096, size: {size}}}}}]
  train_transform: {{mode: eval}}
  threads: 1
  memory_mb: 512
train: {{global_batch: {batch}, steps: {steps}, threads: {threads}, device: cpu}}
checkpoint: {{every_minutes: 0}}
log: {{every_steps: 1, tensorboard: false}}
"""

# Name, pairs a step, pixels of a picture.
MODELS = [("tiny-vit", 256, 32), ("pictures-rn24", 64, 64), ("ViT-S-32-alt", 16, 224),
          ("ViT-B-32", 8, 224), ("RN50", 4, 224)]


def write_run(folder, **values):
    path = Path(folder) / "run.yaml"
    path.write_text(RUN.format(folder=folder, **values))
    return path


def planned(path, *arguments):
    done = subprocess.run([PROGRAM, "plan", str(path), "--json", *arguments], cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"error: {done.stderr.strip()}")
    return json.loads(done.stdout)


def run(path, ranks=1):
    """(median seconds of a step, what its processes used) of a training run."""
    command = [PROGRAM, "train", str(path)]
    if ranks > 1:
        command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
                   "-n", str(ranks), *command]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"error: {' '.join(command)}: {process.stderr.read().strip()}")
    lines = (path.parent / "run" / "metrics.jsonl").read_text().splitlines()
    times = sorted(json.loads(line)["step_ms"] / 1000 for line in lines[2:])
    return times[len(times) // 2], usage


def measure_models():
    """By CPU time, from runs of 3 and of 7 steps: other work on the machine does not enter it."""
    print("| model | pairs a step | planned ms | measured ms | error | planned MB | measured MB "
          "| error |\n|---|---|---|---|---|---|---|---|")
    for model, batch, size in MODELS:
        cpu = {}
        for steps in (3, 7):
            with tempfile.TemporaryDirectory() as folder:
                path = write_run(folder, model=model, batch=batch, size=size, steps=steps,
                                 threads=1)
                plan = planned(path, "--device", "cpu")
                _, usage = run(path)
            cpu[steps] = usage.ru_utime + usage.ru_stime
        seconds, resident = (cpu[7] - cpu[3]) / 4, usage.ru_maxrss * 1024
        # The loader's bound is no part of what a run of generated pictures uses.
        memory = sum(part["bytes"] for part in plan["memory"]["parts"]
                     if not part["name"].startswith("loader"))
        step = plan["step"]["seconds"]
        print(f"| {model} | {batch} | {1e3 * step:.0f} | {1e3 * seconds:.0f} | "
              f"{100 * (step / seconds - 1):+.0f} % | {memory / 1e6:.0f} | {resident / 1e6:.0f} | "
              f"{100 * (memory / resident - 1):+.0f} % |", flush=True)


def measure_ranks():
    print("| ranks | batch | pairs/s | efficiency | planned pairs/s | planned efficiency |\n"
          "|---|---|---|---|---|---|")
    for growing in (False, True):
        alone = planned_alone = None
        for ranks in (1, 2, 4):
            batch = 128 * (ranks if growing else 1)
            with tempfile.TemporaryDirectory() as folder:
                path = write_run(folder, model="pictures-rn24", batch=batch, size=64, steps=8,
                                 threads=1)
                plan = planned(path, "--device", "cpu", "--world", str(ranks))
                seconds, _ = run(path, ranks)
            rate, plan_rate = batch / seconds, plan["speed"]["samples_per_s"]
            alone, planned_alone = alone or rate, planned_alone or plan_rate
            print(f"| {ranks} | {batch} | {rate:.0f} | {100 * rate / alone / ranks:.0f} % | "
                  f"{plan_rate:.0f} | {100 * plan_rate / planned_alone / ranks:.0f} % |", flush=True)


def print_curve(arguments):
    print("| GPUs | the same batch of 32768: pairs/s | efficiency | 1024 rows a GPU: pairs/s "
          "| efficiency |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = write_run(folder, model="ViT-B-32", batch=32768, size=224, steps=1000, threads=0)
        plan = planned(path, "--device", "h100", "--world", "32", "--set", "model.pack_text=auto",
                       "--set", "train.precision=bf16", *arguments)
    for point in plan["scaling"]:
        cells = [point["fixed_batch"], point["growing_batch"]]
        print(f"| {point['world']} | " + " | ".join(
            f"{cell['samples_per_s']:,.0f} | {100 * cell['efficiency']:.1f} %" if cell else "- | -"
            for cell in cells) + " |")


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "models":
        measure_models()
    elif what == "ranks":
        measure_ranks()
    elif what == "curve":
        print_curve(sys.argv[2:])
    else:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
