"""Rules of the glyphs testbed on small inputs, and the whole build against the one on disk.

  glyphs_test.py [CLASS]    Build needs data/glyphs (launch/testbed/glyphs.py) and skips else
"""

import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "launch" / "testbed"))
sys.path.insert(0, str(ROOT / "configs" / "exp" / "glyphs-data"))
try:
    from PIL import Image
    import fontTools  # noqa: F401  (faces.py needs it)
    import numpy
except ImportError as missing:
    print(f"OK (skipped=1): {missing.name} is not installed; run launch/setup.sh")
    sys.exit(0)

import command
import faces
import fast
import glyph_pixels
import glyph_split
import glyphs
import intervals
import layout
import packages
from packages import BuildError


def glyph(family, label=0, pixels=None, source="sans", **more):
    return glyph_split.Glyph(f"{family}-{label}", source, label, family, "caption", b"png",
                             pixels or f"{family} {label}", **more)


class Faces(unittest.TestCase):
    def test_the_family_name_decides_over_the_package(self):
        for family, package, source in [
                ("Lato", "sans", "sans"), ("DejaVu Sans Mono", "sans", "mono"),
                ("CMU Typewriter Text", "serif", "mono"), ("Courier Prime", "mono", "mono"),
                ("Z003", "sans", "hand"), ("DejaVu Serif", "sans", "serif"),
                ("Verana", "sans", "serif"), ("Verana Sans Demi", "sans", "sans"),
                ("Dustismo Roman", "hand", "serif"), ("Dustismo", "hand", "sans"),
                ("Linux Biolinum O", "serif", "sans"), ("Linux Biolinum Keyboard O", "serif", ""),
                ("Standard Symbols PS", "sans", ""), ("Penguin Attack", "hand", ""),
                ("Mono Blocks", "decorative", "decorative")]:
            self.assertEqual(faces.source_of(family, package), source, family)

    def test_family_key_drops_weight_width_and_slant(self):
        self.assertEqual(faces.family_key("IBM 3270 Semi-Condensed"), "ibm 3270")
        self.assertEqual(faces.family_key("Clear Sans Medium"), "clear sans")
        self.assertEqual(faces.family_key("Routed Gothic Narrow Half Italic"), "routed gothic")
        self.assertNotEqual(faces.family_key("Courier Prime Sans"),
                            faces.family_key("Courier Prime"))
        self.assertEqual(faces.family_key("Black"), "black")  # nothing but a weight is a name

    def test_classes(self):
        self.assertEqual(len(glyphs.CLASSES), 62)
        self.assertEqual([glyphs.CLASSES[i] for i in (0, 26, 52)],
                         ["capital letter A", "small letter a", "digit 0"])


DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


class Pixels(unittest.TestCase):
    def test_framed_is_cropped_centred_and_dark_on_white(self):
        coverage = Image.new("L", (60, 80), 0)
        coverage.paste(255, (10, 20, 20, 60))
        coverage.putpixel((55, 5), 8)  # not more than the least coverage
        small = glyph_pixels.framed(coverage)
        self.assertEqual(small.size, (32, 32))
        self.assertEqual((small.getpixel((16, 16)), small.getpixel((2, 16))), (0, 255))
        self.assertEqual((small.getpixel((16, 0)), small.getpixel((16, 31))), (0, 0))

    def test_blank_is_none(self):
        self.assertIsNone(glyph_pixels.framed(Image.new("L", (10, 10), 8)))

    def test_em_keeps_relative_sizes(self):
        if not DEJAVU.exists():
            self.skipTest(f"no {DEJAVU}: Debian's fonts-dejavu-core")
        by_frame = {frame: dict(zip(faces.CHARACTERS, glyph_pixels.render(DEJAVU, frame)))
                    for frame in glyphs.FRAMES}

        def ink(image):
            """Left, top, right, bottom of what is darker than half."""
            return image.point(lambda value: 255 if value < 128 else 0).getbbox()

        box = by_frame["em"]
        self.assertEqual(box["O"].size, (32, 32))
        height = {c: ink(box[c])[3] - ink(box[c])[1] for c in "OoXxHlp"}
        self.assertGreater(height["O"], 1.2 * height["o"])
        self.assertGreater(height["X"], 1.2 * height["x"])
        self.assertLess(abs(ink(box["H"])[3] - ink(box["x"])[3]), 2, "one baseline")
        self.assertGreater(ink(box["p"])[3], ink(box["x"])[3] + 2, "below the baseline")
        cropped = {c: ink(by_frame["bbox"][c]) for c in "Oo"}
        self.assertLess(abs((cropped["O"][3] - cropped["O"][1]) - (cropped["o"][3] - cropped["o"][1])), 3)

    def test_pen_digits_are_inverted(self):
        image = glyph_pixels.pen_digit([16] * 32 + [0] * 32)
        self.assertEqual((image.getpixel((16, 2)), image.getpixel((16, 30))), (0, 255))


class Split(unittest.TestCase):
    def test_small_letters_that_equal_their_capital_are_dropped(self):
        made = [glyph("f", 0, "A"), glyph("f", 26, "A"), glyph("f", 1, "B"), glyph("f", 27, "b"),
                glyph("f", 52, "A")]
        self.assertEqual([g.label for g in glyph_split.drop_equal_small_letters(made)],
                         [0, 1, 27, 52])

    def test_families_of_five_equal_glyphs_and_named_designs_are_one_group(self):
        made = [glyph(f, label, f"same {label}") for f in "ab" for label in range(5)]
        made += [glyph("c", label, f"same {label}") for label in range(4)]
        made += [glyph("c", 5), glyph("lato"), glyph("carlito")]
        group = glyph_split.merge_families(made)
        self.assertEqual(group["a"], group["b"])
        self.assertNotEqual(group["a"], group["c"])
        self.assertEqual(group["lato"], group["carlito"])

    def test_shares_of_the_split_by_source(self):
        groups = {f"{source}{i}": source for source in ("sans", "hand") for i in range(20)}
        split = glyph_split.split_groups(groups, 0)
        for source in ("sans", "hand"):
            of = [split[group] for group in groups if groups[group] == source]
            self.assertEqual([of.count(name) for name in glyph_split.SPLITS], [12, 2, 6])
        self.assertEqual(split, glyph_split.split_groups(dict(reversed(groups.items())), 0))
        self.assertNotEqual(split, glyph_split.split_groups(groups, 1))

    def test_equal_pixels_stay_in_the_split_nearest_to_the_test(self):
        made = [glyph(f"f{i}", 11, "bar") for i in range(10)]
        made += [glyph(f"f{i}", label) for i in range(10) for label in (1, 2)]
        kept, dropped = glyph_split.assign(made, 0)
        self.assertEqual(dropped, 7)
        self.assertEqual({g.split for g in kept if g.label == 11}, {"test"})
        glyph_split.audit_leaks(kept)

    def test_a_given_split_stays(self):
        kept, _ = glyph_split.assign([glyph("d", source="digits", split="test"), glyph("f")], 0)
        self.assertEqual(kept[0].split, "test")

    def test_audit_names_both_sides(self):
        for what in ("group", "pixels"):
            with self.assertRaisesRegex(BuildError, f"b-0 .*a-0 .*same {what}"):
                glyph_split.audit_leaks([
                    glyph("a", group="g", split="train", pixels="p" if what == "pixels" else "x"),
                    glyph("b", group="g" if what == "group" else "h", split="test", pixels="p")])


class Files(unittest.TestCase):
    def made(self):
        return [glyph("f", label, source=source, group=f"{source} {split}", split=split)
                for source in glyphs.SOURCES for split in glyph_split.SPLITS
                for label in (3, 60)] + [
            glyph("d", 57, source="digits", group="d", split="test")]

    def test_layout_and_same_bytes(self):
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            for folder in (Path(a), Path(b)):
                glyphs.write_training(folder, self.made())
                glyphs.write_evaluation(folder, self.made())
            self.assertEqual(layout.checksums(Path(a)), layout.checksums(Path(b)))
            sans = Path(a) / "eval/sans"
            self.assertEqual((sans / "classnames.txt").read_text(), "capital letter D\ndigit 8\n")
            self.assertEqual((sans / "reference_classes.txt").read_text(), "3\n60\n")
            self.assertEqual((sans / "validation/nshards.txt").read_text(), "1\n")
            self.assertFalse((Path(a) / "eval/digits/validation").exists())
            table = (Path(a) / "manifests/sans.csv").read_text().splitlines()
            self.assertEqual(table[0], "key,filepath,caption,label,group,source")
            self.assertEqual(len(table), 3)

    def test_counts_name_the_cell(self):
        table = dict(glyphs.EXPECTED)
        glyphs.check_counts(table)
        table["hand"] = (26, 39, 2294)
        with self.assertRaisesRegex(BuildError, "hand, faces: found 39, documented 37"):
            glyphs.check_counts(table)

    def test_a_foreign_folder_is_not_removed(self):
        with tempfile.TemporaryDirectory() as name:
            out, built = Path(name) / "out", Path(name) / "built"
            out.mkdir()
            built.mkdir()
            (out / "thesis.tex").touch()
            with self.assertRaisesRegex(BuildError, "something else"):
                command.replace(out, built)


class Intervals(unittest.TestCase):
    def counts(self, accuracy, groups=10, n=1000):
        """Models of these accuracies, the same in every group."""
        right = numpy.outer(accuracy, numpy.full(groups, n))
        return numpy.stack([right, numpy.full_like(right, n)], 1)

    def test_models_on_a_line_and_one_above_it(self):
        u = numpy.array([-1.0, 0.0, 1.0, 2.0, 0.5])
        v = 0.8 * u - 0.3
        v[4] += 0.4
        x, y = (self.counts(1 / (1 + numpy.exp(-z))) for z in (u, v))
        (line, rho, residual), ends, _ = intervals.study(x, y, numpy.arange(4))
        numpy.testing.assert_allclose(line, (0.8, -0.3, 1), atol=1e-9)
        numpy.testing.assert_allclose(residual, [0, 0, 0, 0, 0.4], atol=1e-9)
        self.assertAlmostEqual(rho[4], 1 / (1 + numpy.exp(-0.5)) - 1 / (1 + numpy.exp(-0.1)))
        self.assertAlmostEqual(ends[2][0][4], 0.4)  # equal groups, exact line: no width

    def test_groups_that_differ_widen_the_interval(self):
        u = numpy.array([-1.0, 0.0, 1.0, 2.0])
        x = self.counts(1 / (1 + numpy.exp(-u)))
        y = self.counts(1 / (1 + numpy.exp(-u)))
        y[:, 0, ::2] *= 0.5
        _, ends, _ = intervals.study(x, y, numpy.arange(4))
        self.assertGreater(ends[2][1][0] - ends[2][0][0], 0.01)
        self.assertGreater(ends[0][1][1] - ends[0][0][1], 0.2)

    def test_no_accuracy_of_0_or_1_reaches_the_logit(self):
        counts = self.counts(numpy.array([0.0, 1.0]))
        found = intervals.accuracies(counts, numpy.arange(10))
        numpy.testing.assert_allclose(found, [0.5 / 10000, 1 - 0.5 / 10000])

    def test_verdicts(self):
        self.assertEqual(intervals.verdict(0.01, 0.3), "effect")
        self.assertEqual(intervals.verdict(-0.05, 0.09), "no effect")
        self.assertEqual(intervals.verdict(-0.05, 0.2), "not resolved")


class CaseFolded(unittest.TestCase):
    def test_a_letter_of_the_other_case_is_right(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # Classes of the file -> the 62: C, c, D, 8.
            (folder / "eval/s").mkdir(parents=True)
            (folder / "eval/s/reference_classes.txt").write_text("2\n28\n3\n60\n")
            (folder / "eval/s/keys-test.txt").write_text(
                "".join(f"k{i}\tx\tg{i % 2}\n" for i in range(5)))
            (folder / "predictions").mkdir()
            (folder / "predictions/s.csv").write_text(
                "key,target,pred1\nk0,0,0\nk1,0,1\nk2,1,0\nk3,2,3\nk4,3,3\n")
            counts = {folded: intervals.by_group(folder / "results.json", folder, "s", folded=folded)
                      for folded in (False, True)}
        self.assertEqual(counts[False][0].sum(), 2)
        self.assertEqual(counts[True][0].sum(), 4)
        self.assertEqual(list(counts[True][1]), [3, 2])


class Fast(unittest.TestCase):
    """The study's code path in a minute: 30 random-feature ridge models make the baseline."""

    def test_thirty_models_make_a_line_through_the_report(self):
        data = ROOT / "data" / "glyphs"
        if not (data / "complete").exists():
            self.skipTest("no data/glyphs; run launch/testbed/glyphs.py")
        program = Path(os.environ.get("PLUMBLINE", ROOT / "build/release/plumbline"))
        if not program.exists():
            self.skipTest(f"no {program}")
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            fast.study(data, out, program)
            found = json.loads((out / "report/fits.json").read_text())
            models = {model["name"] for model in found["models"]}
            self.assertEqual(len(models), 30)
            lines = {fit["y"]: fit for fit in found["fits"]
                     if (fit["baseline"], fit["transform"], fit["metric"]) == ("supervised", "logit", "top1")}
            self.assertEqual(set(lines), {"serif", "mono", "hand", "decorative", "digits"})
            for fit in lines.values():
                self.assertEqual(fit["n"] + len(fit["left_out"]), 30)
            # Other fonts follow the reference; nothing is claimed of them.
            self.assertGreater(lines["serif"]["r2"], 0.7)
            results = json.loads((out / "ridge-all-1024-s1/results.json").read_text())
            self.assertGreater(results["sets"][0]["top1"], 0.5)


class Build(unittest.TestCase):
    def test_a_second_build_gives_the_same_bytes(self):
        data = ROOT / "data" / "glyphs"
        if not command.is_built(data, glyphs.fingerprint()):
            self.skipTest("no current data/glyphs; run launch/testbed/glyphs.py")
        with tempfile.TemporaryDirectory() as name:
            again = Path(name) / "glyphs"
            self.assertNotEqual(glyphs.fingerprint("em"), glyphs.fingerprint())
            glyphs.build(again, packages.default_cache())
            first = json.loads((data / "manifest.json").read_text())
            self.assertEqual(first, json.loads((again / "manifest.json").read_text()))
            on_disk = {name: digest for name, digest in layout.checksums(data).items()
                       if name in first["files"]}
            self.assertEqual(on_disk, first["files"])


if __name__ == "__main__":
    unittest.main()
