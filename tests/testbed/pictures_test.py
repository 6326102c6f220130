"""Rules of the pictures testbed on small inputs, and the whole build against the one on disk.

  pictures_test.py [CLASS]    Build needs data/pictures (launch/testbed/pictures.py) and skips else
"""

import csv
import io
import json
import sys
import tarfile
import tempfile
import unittest
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "launch" / "testbed"))
try:
    from PIL import Image, ImageDraw, ImageOps
    import fontTools  # noqa: F401  (sources.py needs it)
    import numpy  # noqa: F401  (split.py needs it)
except ImportError as missing:
    print(f"OK (skipped=1): {missing.name} is not installed; run launch/setup.sh")
    sys.exit(0)

import command
import layout
import packages
import pictures
import pixels
import sources
import split
import wordnet
from packages import BuildError

# A WordNet of a few nouns. Columns as in the real files; the offset is also the line's name.
DATA = """\
  1 licence
00000001 05 n 01 animal 0 000 | root of all
00000002 05 n 01 bird 0 001 @ 00000001 n 0000 | class
00000003 05 n 01 mammal 0 001 @ 00000001 n 0000 | class
00000004 05 n 02 hen 0 biddy 0 001 @ 00000002 n 0000 | below bird
00000005 05 n 01 dog 0 002 @ 00000003 n 0000 ~ 00000002 n 0000 | below mammal; ~ is no way up
00000006 13 n 01 hot_dog 0 000 | food
00000007 05 n 01 rex 0 001 @i 00000005 n 0000 | instance of dog
00000008 05 n 01 mouse 0 001 @ 00000003 n 0000 | below mammal
"""
INDEX = """\
  1 licence
animal n 1 0 1 0 00000001
bird n 1 1 @ 1 0 00000002
mammal n 1 1 @ 1 0 00000003
hen n 2 1 @ 2 0 00000004 00000003
dog n 1 2 @ ~ 1 0 00000005
hot_dog n 1 0 1 0 00000006
rex n 1 1 @i 1 0 00000007
mouse n 1 1 @ 1 0 00000008
"""


def nouns(folder):
    others = {lemma for lemmas in wordnet.ROOTS.values() for lemma in lemmas} - {"bird", "mammal"}
    lines = {lemma: 100 + number for number, lemma in enumerate(sorted(others))}
    (folder / "data.noun").write_text(
        DATA + "".join(f"{n:08d} 05 n 01 {lemma} 0 000 | class\n" for lemma, n in lines.items()))
    (folder / "index.noun").write_text(
        INDEX + "".join(f"{lemma} n 1 0 1 0 {n:08d}\n" for lemma, n in lines.items()))
    (folder / "noun.exc").write_text("mice mouse\n")
    return wordnet.Nouns(folder)


def picture(key, group="g", label=None, source="clipart", image=None, code_point=0, test=False):
    image = image or Image.new("RGB", (32, 32), f"#{zlib.crc32(key.encode()) & 0xffffff:06x}")
    raw = sources.Raw(source, key, "file", Path(key), code_point, f"A {key}", ("word",), group)
    return pictures.Picture(raw, pixels.png(image), pixels.pixel_hash(image), pixels.outline(image),
                            raw.caption, label, test)


class Classes(unittest.TestCase):
    def setUp(self):
        with tempfile.TemporaryDirectory() as folder:
            self.nouns = nouns(Path(folder))

    def test_follows_hypernyms_and_instances_of_the_first_sense(self):
        self.assertEqual(self.nouns.label(["A HEN!"]), "bird")  # its second sense is mammal
        self.assertEqual(self.nouns.label(["Rex"]), "mammal")

    def test_longest_gram_wins(self):
        self.assertIsNone(self.nouns.label(["hot dog"]))
        self.assertEqual(self.nouns.label(["hot 2 dog"]), None)  # digits do not part words
        self.assertEqual(self.nouns.label(["dog hot"]), "mammal")

    def test_exceptions_and_plurals(self):
        self.assertEqual(self.nouns.label(["three mice"]), "mammal")
        self.assertEqual(self.nouns.label(["dogs"]), "mammal")
        self.assertIsNone(self.nouns.label(["dogz"]))

    def test_two_classes_are_no_label_and_hide_later_fields(self):
        self.assertIsNone(self.nouns.label(["hen and dog", "hen"]))
        self.assertEqual(self.nouns.label(["nothing", "hen"]), "bird")


class Sources(unittest.TestCase):
    def test_title_group(self):
        self.assertEqual(sources.title_group("Dog 01 Drawn (Wizard Costume)"), "dog drawn")
        self.assertEqual(sources.title_group("drawn_dog-2"), "dog drawn")

    def test_clipart_text(self):
        with tempfile.TemporaryDirectory() as folder:
            svg = Path(folder) / "a.svg"
            svg.write_text(
                '<svg xmlns:dc="http://purl.org/dc/elements/1.1/" '
                'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
                '<dc:title>Clipart by Ann Other - red\n  hen</dc:title><dc:subject><rdf:Bag>'
                '<rdf:li>bird</rdf:li><rdf:li/><rdf:li> farm </rdf:li></rdf:Bag></dc:subject>'
                '<dc:creator><dc:title>Ann</dc:title></dc:creator></svg>')
            self.assertEqual(sources.clipart_text(svg), ("red hen", ("bird", "farm")))

    def test_links_are_not_read(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "b.png").write_bytes(b"")
            (Path(folder) / "a.png").symlink_to("b.png")
            self.assertEqual([p.name for p in sources.files(Path(folder), ".png")], ["b.png"])


class Pixels(unittest.TestCase):
    def test_hidden_colours_do_not_shine_through(self):
        for image in (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), Image.new("LA", (2, 2), (0, 0))):
            self.assertEqual(pixels.over_white(image).getpixel((0, 0)), (255, 255, 255))
        palette = Image.new("P", (1, 1), 0)
        palette.putpalette([10, 20, 30])
        palette.info["transparency"] = 0
        self.assertEqual(pixels.over_white(palette).getpixel((0, 0)), (255, 255, 255))

    def test_strips_equal_the_whole(self):
        image = Image.effect_noise((4100, 4200), 60).convert("RGB")
        self.assertGreater(image.width * image.height, pixels.STRIP_PX)
        strips = pixels.over_white_in_strips(image)
        self.assertEqual(strips.tobytes(), image.reduce(4).tobytes())

    def test_stored_is_square_and_never_enlarged(self):
        wide = pixels.stored(Image.new("RGB", (1000, 40), "black"))
        self.assertEqual(wide.size, (128, 128))
        self.assertEqual(wide.getpixel((64, 0)), (255, 255, 255))
        self.assertEqual(wide.getpixel((64, 64)), (0, 0, 0))
        self.assertEqual(pixels.stored(Image.new("RGB", (30, 64))).size, (64, 64))


class Split(unittest.TestCase):
    def test_halves_each_class_and_keeps_groups_whole(self):
        members = [picture(f"{label}{g}-{i}", f"{label}{g}", label)
                   for label in ("bird", "tree") for g in range(10) for i in range(1 + g % 3)]
        test = split.test_groups(members, set(), 0)
        for label in ("bird", "tree"):
            sides = [p.raw.group in test for p in members if p.label == label]
            self.assertLessEqual(abs(2 * sum(sides) - len(sides)), 3)  # the largest group
        self.assertEqual(test, split.test_groups(members[::-1], set(), 0))
        self.assertNotEqual(test, split.test_groups(members, set(), 1))

    def test_unlabelled_groups_train_and_whole_sources_test(self):
        members = [picture(f"u{i}", f"u{i}") for i in range(20)] + [picture("w", "w", "bird")]
        self.assertEqual(split.test_groups(members, {"w"}, 0), {"w"})

    def test_redrawn_finds_moved_scaled_recoloured_copies_only(self):
        drawing = Image.new("RGB", (128, 128), "white")
        ImageDraw.Draw(drawing).polygon([(10, 90), (40, 20), (70, 60), (60, 100)], fill="navy")
        ImageDraw.Draw(drawing).ellipse((20, 50, 50, 80), fill="yellow")
        copy = Image.new("RGB", (96, 96), "white")
        copy.paste(drawing.crop((5, 15, 75, 105)).resize((56, 72)), (30, 10))
        copy = Image.merge("RGB", copy.split()[::-1])
        evaluated = [picture("drawing", image=drawing)]
        training = [picture("copy", image=copy), picture("mirror", image=ImageOps.flip(drawing))]
        self.assertEqual(split.redrawn(training, evaluated), {"copy": "drawing"})

    def test_audit_names_both_sides(self):
        same = Image.new("RGB", (32, 32), "red")
        with self.assertRaisesRegex(BuildError, "a .*b .*same group"):
            split.audit_leaks([picture("b", "x")], [picture("a", "x")])
        with self.assertRaisesRegex(BuildError, "a .*b .*same pixels"):
            split.audit_leaks([picture("b", "x", image=same)], [picture("a", "y", image=same)])
        split.audit_leaks([picture("b", "x")], [picture("a", "y")])


class Files(unittest.TestCase):
    def write(self, folder):
        members = [(picture(f"k{i}", label="bird"), "bird" if i % 2 else "tree") for i in range(4)]
        layout.write_evaluation_set(folder / "set", members, ["bird", "tree"],
                                    ["car", "bird", "fruit", "tree"])
        layout.write_manifest(folder / "m.csv", [members[0][0]])

    def test_layout_of_an_evaluation_set(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.write(folder)
            self.assertEqual((folder / "set/test/nshards.txt").read_text(), "1\n")
            self.assertEqual((folder / "set/reference_classes.txt").read_text(), "1\n3\n")
            with tarfile.open(folder / "set/test/0.tar") as tar:
                names = tar.getnames()
                self.assertEqual(names[:3], ["s0000000.png", "s0000000.cls", "s0000000.txt"])
                self.assertEqual(tar.extractfile("s0000000.cls").read(), b"1")
                self.assertEqual(tar.extractfile("s0000001.cls").read(), b"0")
                data = io.BytesIO(tar.extractfile("s0000003.png").read())
                self.assertEqual(Image.open(data).size, (32, 32))
            with open(folder / "m.csv", newline="") as file:
                row = next(csv.DictReader(file))
            self.assertEqual((row["key"], row["filepath"], row["caption"], row["label"]),
                             ("k0", "images/clipart/k0.png", "A k0", "bird"))

    def test_same_input_same_bytes(self):
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            self.write(Path(a))
            self.write(Path(b))
            self.assertEqual(layout.checksums(Path(a)), layout.checksums(Path(b)))

    def test_small_classes_leave_a_set(self):
        members = [picture(f"b{i}", f"b{i}", "bird", "noto", test=True) for i in range(5)]
        members += [picture(f"t{i}", f"t{i}", "tree", "noto", test=True) for i in range(5)]
        pairs, classes = pictures.evaluation_sets(members, {"t0": None, "b1": None})["noto"]
        self.assertEqual((pairs, classes), ([], []))
        pairs, classes = pictures.evaluation_sets(members, {"t0": "bird"})["noto"]
        self.assertEqual((len(pairs), classes), (6, ["bird"]))

    def test_counts_name_the_cell(self):
        table = {name: (n, list(c)) for name, (n, c) in pictures.EXPECTED.items()}
        pictures.check_counts(table)
        table["noto"][1][3] += 2
        with self.assertRaisesRegex(BuildError, "noto, fruit: found 17, documented 15"):
            pictures.check_counts(table)

    def test_label_file_is_checked(self):
        for line, message in [("k0\tfish\tr", "unknown class 'fish'"), ("k0\tbird", "tabs"),
                              ("zz\tbird\tr", "'zz' is not a picture")]:
            with tempfile.NamedTemporaryFile("w") as file:
                file.write("# comment\n" + line + "\n")
                file.flush()
                with self.assertRaisesRegex(BuildError, ":2: .*" + message):
                    pictures.read_corrections([picture("k0")], Path(file.name))

    def test_a_foreign_folder_is_not_removed(self):
        with tempfile.TemporaryDirectory() as name:
            out, built = Path(name) / "out", Path(name) / "built"
            out.mkdir()
            built.mkdir()
            (out / "thesis.tex").touch()
            with self.assertRaisesRegex(BuildError, "something else"):
                command.replace(out, built)
            self.assertTrue((out / "thesis.tex").exists())


class Build(unittest.TestCase):
    def test_a_second_build_gives_the_same_bytes(self):
        data = ROOT / "data" / "pictures"
        if not command.is_built(data, pictures.fingerprint()):
            self.skipTest("no current data/pictures; run launch/testbed/pictures.py")
        with tempfile.TemporaryDirectory() as name:
            again = Path(name) / "pictures"
            pictures.build(again, packages.default_cache())
            first = json.loads((data / "manifest.json").read_text())
            second = json.loads((again / "manifest.json").read_text())
            self.assertEqual(first, second)
            on_disk = {k: v for k, v in layout.checksums(data).items() if k in first["files"]}
            self.assertEqual(on_disk, first["files"])


if __name__ == "__main__":
    unittest.main()
