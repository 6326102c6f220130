"""`plumbline tokenize` against OpenCLIP's SimpleTokenizer on 100,000 lines that people wrote.

The captions of data/pictures where they are, then lines of the documentation that is installed on
this machine, in many languages: package descriptions, changelogs, licences, Python's own texts.
"""

import csv
import gzip
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT, ProgramTest

try:
    from open_clip.tokenizer import SimpleTokenizer
except ImportError as error:
    SimpleTokenizer, MISSING = None, str(error)
else:
    MISSING = ""

WANTED = 100_000
PLACES = [("/usr/share/doc", "*/copyright"), ("/usr/share/doc", "*/changelog*.gz"),
          ("/usr/lib", "python3*/**/*.py"), (ROOT / ".venv" / "lib", "python3*/**/*.py"),
          ("/usr/share/perl", "**/*.p[ml]")]


def captions_of_pictures():
    for path in sorted((ROOT / "data" / "pictures" / "manifests").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as table:
            for row in csv.DictReader(table):
                yield row["caption"]


def lines_of_documentation():
    for place, pattern in PLACES:
        for path in sorted(Path(place).glob(pattern)):
            try:
                data = path.read_bytes()
                data = gzip.decompress(data) if path.suffix == ".gz" else data
                yield from data.decode("utf-8").split("\n")
            except (OSError, UnicodeDecodeError, EOFError):
                continue  # not ours to judge


def real_lines():
    """Different lines of three words and more."""
    seen = {}
    for source in (captions_of_pictures(), lines_of_documentation()):
        for line in source:
            if len(line.split()) >= 3 and "\n" not in line and "\r" not in line:
                seen[line] = None
                if len(seen) == WANTED:
                    return list(seen)
    return list(seen)


@unittest.skipIf(MISSING, MISSING)
class Tokens(ProgramTest):
    def test_real_lines_have_the_same_ids(self):
        lines = real_lines()
        if len(lines) < WANTED:
            self.skipTest(f"this machine has {len(lines)} lines of text, not {WANTED}")
        file = self.folder / "lines.txt"
        file.write_bytes("".join(line + "\n" for line in lines).encode())
        done = self.plumbline("tokenize", "--tokenizer", "clip,special_text=openclip", file)
        rows = done.stdout.splitlines()
        self.assertEqual(len(rows), len(lines))
        tokenizer = SimpleTokenizer()
        other = [(line, ours) for line, ours in zip(lines, rows)
                 if list(map(int, ours.split())) != tokenizer(line)[0].tolist()]
        self.assertEqual(other[:5], [], f"{len(other)} of {len(lines)} lines differ")
        print(f"{len(lines)} lines, {sum(row.count(' 0') == 0 for row in rows)} as long as the row")


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
