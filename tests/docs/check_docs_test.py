"""check_docs.py finds what it is there for: each mistake is put into a copy of the pages."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Mistakes(unittest.TestCase):
    def setUp(self):
        self.root = Path(tempfile.mkdtemp(prefix="plumbline_docs_"))
        self.addCleanup(shutil.rmtree, self.root)
        for entry in ROOT.iterdir():
            if entry.name not in {"docs", "README.md"}:
                os.symlink(entry, self.root / entry.name)
        shutil.copytree(ROOT / "docs", self.root / "docs")
        shutil.copy(ROOT / "README.md", self.root)

    def check(self):
        done = subprocess.run([sys.executable, str(ROOT / "tests/docs/check_docs.py"), str(self.root)],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stderr, "")
        return done

    def append(self, page, text):
        with open(self.root / page, "a") as file:
            file.write(text)

    def test_text_that_is_wrong(self):
        for text, says in [
            ("\n[x](absent.md)\n", "the link absent.md leads nowhere"),
            ("\n[x](errors.md#no-such-heading)\n", "names no heading"),
            ("\n`launch/absent.sh`\n", "launch/absent.sh does not exist"),
            ("\n```\nsrc/absent/*.cpp\n```\n", "src/absent/*.cpp does not exist"),
            ("\n`plumbline train x.yaml --fast`\n", "train has no --fast"),
            ("\n```\nmpirun -n 2 plumbline fly\n```\n", "no command 'fly'"),
            ("\n```\nplumbline data pack \\\n  --bogus 1\n```\n", "data pack has no --bogus"),
            ("\nSee /home/someone.\n", "the absolute path"),
            ("\nhttps://example.org/x\n", "the host example.org"),
        ]:
            with self.subTest(text):
                page = self.root / "docs/reference/errors.md"
                before = page.read_text()
                self.append("docs/reference/errors.md", text)
                done = self.check()
                page.write_text(before)
                self.assertEqual(done.returncode, 1)
                self.assertIn(says, done.stdout)

    def test_pages_that_lag_behind_the_code(self):
        for page, row, says in [
            ("metrics.md", "| `lr` |", "metrics.jsonl: `lr`"),
            ("metrics.md", "| `signal` |", "events.jsonl: `signal`"),
            ("metrics.md", "| `eval/SET/top1` |", "TensorBoard: `eval/SET/top1`"),
            ("errors.md", "| 65 |", "exit codes:"),
            ("errors.md", "| `decode` |", "bad samples: `decode`"),
            ("shards.md", "| 104 |", "IndexHeader:"),
            ("shards.md", "| 44 |", "IndexRecord:"),
            ("commands.md", "| `--skip-bad` |", "flags of data pack: `--skip-bad`"),
        ]:
            with self.subTest(row):
                path = self.root / "docs/reference" / page
                before = path.read_text()
                lines = [line for line in before.splitlines(True) if not line.startswith(row)]
                self.assertLess(len(lines), len(before.splitlines()))
                path.write_text("".join(lines))
                done = self.check()
                path.write_text(before)
                self.assertEqual(done.returncode, 1)
                self.assertIn(says, done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
