"""Trains and evaluates every arm of the study, then writes the report.

  run.py [--plumbline build/release/plumbline] [--jobs 2] [--only TEXT] [--report-only]

Needs data/glyphs (launch/testbed/glyphs.py). Arms whose evaluation is there are skipped, so an
interrupted study goes on. Runs stand in runs/glyphs-data/ARM; the report, the tables that it was
made from and summary.md in runs/glyphs-data/report.
"""

import argparse
import concurrent.futures
import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import intervals

STUDY = Path(__file__).resolve().parent
DATA = Path("data/glyphs")
RUNS = Path("runs/glyphs-data")
SOURCES = ["sans", "serif", "mono", "hand", "decorative"]
SHIFTS = ["serif", "mono", "hand", "decorative", "digits"]
SIZES = [300, 600, 1200, 2400, 0]  # glyphs of sans; 0: all 6,745
FIXED = 1100                       # total of the arms that compare sources: hand has 1,178


@dataclasses.dataclass(frozen=True)
class Arm:
    kind: str      # supervised | clip
    sources: dict  # {source: glyphs, 0 = all}
    model: str
    seed: int
    part: str      # baseline | source | mixture | clip

    @property
    def name(self):
        data = "+".join(f"{s}{n or 'all'}" for s, n in self.sources.items())
        return f"{self.kind}-{data}-{self.model}-s{self.seed}"

    @property
    def type(self):
        """How the report colours and fits it: the baseline is fitted to STANDARD."""
        if self.part == "baseline":
            return "STANDARD"
        if self.kind == "clip":
            return "CLIP"
        return "OTHER_SOURCE" if self.part == "source" else "MIXTURE"


def arms():
    """In order of worth, so that a study cut short has every part."""
    mixtures = [{"sans": FIXED // 2, other: FIXED // 2} for other in SOURCES[1:]]
    mixtures.append({source: FIXED // len(SOURCES) for source in SOURCES})
    listed = []
    for seed in (0, 1, 2):
        listed += [Arm("supervised", {"sans": n}, model, seed, "baseline")
                   for n in SIZES for model in ("rn-8", "vit-64")]
        if seed == 2:
            break
        listed += [Arm("supervised", {s: FIXED}, "rn-8", seed, "source") for s in SOURCES]
        listed += [Arm("supervised", m, "rn-8", seed, "mixture") for m in mixtures]
        listed += [Arm("clip", m, "rn-8", seed, "clip")
                   for m in ({"sans": 600}, {"sans": 2400}, {"sans": 0}, mixtures[-1])]
    return listed


def shards_of(source, samples, seed, program):
    """Shards of `samples` of a source, nested between sizes: the smallest keyed hashes."""
    if samples == 0:
        return f"{DATA}/train/{source}/*.tar"
    folder = DATA / "subsets" / f"{source}-{samples}-s{seed}"
    if not (folder / "sizes.json").exists():
        command = [program, "data", "subset", f"{DATA}/train/{source}/*.tar", "--samples",
                   str(samples), "--seed", str(seed), "--out", str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return f"{folder}/*.tar"


def arm_of(arm):
    """The name without the seed."""
    return arm.name.rsplit("-", 1)[0]


def results_path(arm):
    found = sorted((RUNS / arm.name / "evaluation").glob("step-*/results.json"))
    return found[-1] if found else None


def results_of(arm):
    path = results_path(arm)
    return json.loads(path.read_text()) if path else None


def train(arm, program):
    sources = [{"name": source, "shards": shards_of(source, n, arm.seed, program),
                "label": {"key": "cls"}} for source, n in arm.sources.items()]
    settings = {"run.name": arm.name, "run.dir": str(RUNS / arm.name), "run.seed": arm.seed,
                "model.name": str(STUDY.relative_to(Path.cwd()) / f"{arm.model}.yaml"),
                "data.sources": sources}
    command = [program, "train", str(STUDY / f"{arm.kind}.yaml")]
    for key, value in settings.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{arm.name}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return arm


def train_all(listed, program, jobs):
    missing = [arm for arm in listed if results_of(arm) is None]
    print(f"{len(listed) - len(missing)} arms are done, {len(missing)} to train", flush=True)
    for arm in missing:  # one after the other: arms share subsets
        for source, n in arm.sources.items():
            shards_of(source, n, arm.seed, program)
    failed = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(train, arm, program) for arm in missing]
        for future in concurrent.futures.as_completed(running):
            try:
                print("trained", future.result().name, flush=True)
            except RuntimeError as error:
                failed.append(str(error))
                print("failed", error, file=sys.stderr, flush=True)
    return failed


def write_tables(listed, folder):
    """baseline.csv and models.csv for the report; returns the rows of all arms that are done."""
    rows = []
    for arm in listed:
        results = results_of(arm)
        if results is None:
            continue
        row = {"model": arm.name, "type": arm.type}
        for part in results["sets"]:
            row[part["name"]] = part["top1"]
            row[part["name"] + "_n"] = part["n"]
        rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    for name, wanted in (("baseline.csv", True), ("models.csv", False)):
        chosen = [row for row in rows if (row["type"] == "STANDARD") == wanted]
        if not chosen:
            continue
        with open(folder / name, "w", newline="") as file:
            writer = csv.DictWriter(file, list(chosen[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(chosen)
    return rows


def report(listed, program):
    folder = RUNS / "report"
    rows = write_tables(listed, folder)
    newest = [str(RUNS / row["model"]) for row in rows]
    command = [program, "report", *newest, "--baseline", str(folder / "baseline.csv"),
               "--out", str(folder)]
    if (folder / "models.csv").exists():
        command += ["--models", str(folder / "models.csv")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    done = [arm for arm in listed if results_of(arm) is not None]
    models = [(arm.name, arm_of(arm), arm.type == "STANDARD", results_path(arm)) for arm in done]
    mixtures = {arm_of(arm): [f"supervised-{source}{FIXED}-{arm.model}" for source in arm.sources]
                for arm in done if arm.part == "mixture"}
    summary = intervals.summarise(models, DATA, SHIFTS, mixtures) + "\n" + intervals.folded_table(
        models, DATA, ["sans", *SHIFTS])
    (folder / "summary.md").write_text(summary)
    print(summary)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plumbline", default="build/release/plumbline")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="arms whose name contains this")
    parser.add_argument("--report-only", action="store_true")
    options = parser.parse_args()
    listed = [arm for arm in arms() if options.only in arm.name]
    failed = []
    if not options.report_only:
        failed = train_all(listed, options.plumbline, options.jobs)
    folder = report(listed, options.plumbline)
    print(f"{sum(results_of(arm) is not None for arm in listed)} of {len(listed)} arms are done; "
          f"report: {folder}/index.html")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
