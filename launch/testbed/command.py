"""What the testbed scripts have in common: build beside the folder, put in place, pack the shards.

A folder is current when its manifest.json carries the fingerprint of the script; OUT/complete is
written last, so an interrupted call goes on with what is missing.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import packages
from packages import BuildError


def is_built(out, fingerprint):
    try:
        return json.loads((out / "manifest.json").read_text())["fingerprint"] == fingerprint
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


def replace(out, built):
    """Puts the finished folder in place; refuses to remove a folder that is not a testbed."""
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise BuildError(f"{out} holds something else than a testbed; choose another --out")
    if out.exists():
        shutil.rmtree(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    built.rename(out)


def pack(out, sources, samples_per_shard, plumbline):
    """Training shards by the program itself: the same tool as for any other data."""
    for source in sources:
        target = out / "train" / source
        if target.exists():
            shutil.rmtree(target)
        command = [plumbline, "data", "pack", "--manifest", out / "manifests" / f"{source}.csv",
                   "--root", out, "--out", target, "--samples-per-shard", samples_per_shard]
        try:
            subprocess.run([str(part) for part in command], check=True)
        except FileNotFoundError as error:
            raise BuildError(f"{plumbline} is not there to pack the shards; "
                             "build it with launch/setup.sh or name it with --plumbline") from error
        except subprocess.CalledProcessError as error:
            raise BuildError(f"`data pack` of {source} exited with {error.returncode}") from error


def make(name, build, fingerprint, sources, samples_per_shard, description, frames=()):
    """The whole command line of testbed `name`; build(folder, cache) fills a new folder.

    frames  choices of --frame, the first is the default; build and fingerprint take it then
    """
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data") / name)
    parser.add_argument("--cache", type=Path, default=packages.default_cache())
    parser.add_argument("--plumbline", type=Path, default=Path("build/release/plumbline"))
    if frames:
        parser.add_argument("--frame", choices=frames, default=frames[0])
    options = parser.parse_args()
    if frames:
        build = functools.partial(build, frame=options.frame)
        fingerprint = fingerprint(options.frame)
    complete = options.out / "complete"
    built = is_built(options.out, fingerprint)
    if not (built and complete.exists()):
        if not built:
            partial = options.out.with_name(f"{options.out.name}.{os.getpid()}.tmp")
            try:
                build(partial, options.cache)
                replace(options.out, partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        pack(options.out, sources, samples_per_shard, options.plumbline)
        complete.touch()
    print(f"{options.out} is complete")


def run(name, *arguments):
    """make(), with a failed build as one line on stderr and exit code 1."""
    try:
        make(name, *arguments)
    except BuildError as error:
        sys.exit(f"error: testbed {name}: {error}")
