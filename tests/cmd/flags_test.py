"""The command line is frozen: every command's arguments and flags against tests/cmd/flags.txt.

  flags_test.py            compares
  PLUMBLINE_UPDATE_DOCS=1  rewrites the list instead
"""

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, BINARY, environment

LIST = ROOT / "tests" / "cmd" / "flags.txt"
EVERYWHERE = {"--help", "--version"}


def help_of(command):
    done = subprocess.run([str(BINARY), *command, "--help"], env=environment(), text=True,
                          capture_output=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"plumbline {' '.join(command)} --help: exit code {done.returncode}, "
                             f"{done.stderr}")
    return done.stdout


def parse(text):
    """Names listed under each heading of a --help text."""
    headings, names = {}, None
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z]\w*:", line):
            names = headings.setdefault(line[:-1], [])
        elif names is not None and (item := re.match(r"  (\S+)", line)):
            names.append(item.group(1))
    return headings


def flags_of(command=()):
    """Lines "COMMAND FLAG" of a command and of all below it."""
    headings = parse(help_of(command))
    name = " ".join(command)
    for argument in headings.get("Positionals", []):
        yield f"{name} {argument}"
    for option in headings.get("Options", []):
        flag = option.split(",")[-1]
        if flag not in EVERYWHERE:
            yield f"{name} {flag}"
    for sub in headings.get("Subcommands", []):
        yield from flags_of((*command, sub))


class Flags(unittest.TestCase):
    def test_list_is_complete(self):
        found = sorted(set(flags_of()), key=lambda line: (
            line.rpartition(" ")[0], line.rpartition(" ")[2].startswith("-"), line))
        comments = [line for line in LIST.read_text().splitlines() if line.startswith("#")]
        listed = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
        if os.environ.get("PLUMBLINE_UPDATE_DOCS") == "1":
            LIST.write_text("\n".join([*comments, *found]) + "\n")
            return
        self.assertGreater(len(found), 40, "the --help texts were not understood")
        self.assertEqual(sorted(set(found) - set(listed)), [], f"not in {LIST.name}")
        self.assertEqual(sorted(set(listed) - set(found)), [], f"in {LIST.name}, not in the program")
        self.assertEqual(found, listed, "the order of the list")

    def test_version_and_help_work_without_anything_else(self):
        for arguments in (["--version"], ["--help"], ["train", "--help"]):
            done = subprocess.run([str(BINARY), *arguments], env=environment(), cwd="/", text=True,
                                  capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotEqual(done.stdout.strip(), "")


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
