"""The documentation against the repository.

  check_docs.py [ROOT]

README.md and docs/**/*.md: links and their anchors, paths, commands with their flags; reference pages
against the code that they describe.
"""

import re
import sys
from pathlib import Path

OWN_PATHS = r"(?:launch|configs|tests|docs|src|kernels|include|cmake)"
ALLOWED_HOSTS = {"arxiv.org", "doi.org", "github.com"}
# Before the program's name: nothing, a folder, mpirun with its arguments, or another command's end.
COMMAND_POSITION = r"(?:[\w./]*/|mpirun .*? |.*[|&;] )?"
ABSOLUTE = re.compile(r"(?<![\w.}/:-])/(?:home|root|work|tmp|usr|opt|mnt|data)/\w+")


def anchors(text):
    """Anchors of a page's headings, as the common renderers make them."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def code_of(text):
    """(fenced blocks, inline code) of a page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return blocks, re.findall(r"`([^`\n]+)`", prose)


def sections(text):
    """Heading -> body of the second-level sections."""
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def first_column(body):
    """Names in backticks in the first column of a section's tables, headings left out."""
    names = []
    for line in body.splitlines():
        cell = re.match(r"\|([^|]*)\|", line)
        if cell and "`" in cell[1]:
            names += re.findall(r"`([^`]+)`", cell[1])
    return names


def check_links(page, text):
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            yield f"the link {target} leads nowhere"
        elif anchor and anchor not in anchors(path.read_text()):
            yield f"the link {target} names no heading"


def check_words(text):
    for host in re.findall(r"https?://([\w.-]+)", text):
        if host not in ALLOWED_HOSTS:
            yield f"the host {host} is not one of {', '.join(sorted(ALLOWED_HOSTS))}"
    for path in ABSOLUTE.findall(text):
        yield f"the absolute path {path}"


def check_paths(root, text):
    blocks, spans = code_of(text)
    for code in [*blocks, *spans]:
        for path in re.findall(rf"(?<![\w./-]){OWN_PATHS}/[\w./*-]+", code):
            pattern = path.rstrip("./").replace("NAME", "*")
            if not any(root.glob(pattern)):
                yield f"{path} does not exist"


def read_flags(root):
    """Command -> its arguments and flags, from the list that tests/cmd/flags_test.py checks."""
    flags = {}
    for line in (root / "tests/cmd/flags.txt").read_text().splitlines():
        if not line.startswith("#"):
            command, _, flag = line.rpartition(" ")
            flags.setdefault(command, set()).add(flag)
    return flags


def command_of(words, flags):
    """The command that `words` begin with, or None."""
    for length in (2, 1):
        if " ".join(words[:length]) in flags:
            return " ".join(words[:length])
    return None


def check_commands(text, flags):
    blocks, spans = code_of(text)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *spans]:
        line = re.sub(r"\s#.*", "", line)
        call = re.match(rf"{COMMAND_POSITION}plumbline ([a-z].*)", line)
        top = re.match(rf"{COMMAND_POSITION}plumbline ((?:--[\w-]+ ?)+)", line)
        if top and not set(top[1].split()) <= {"--help", "--version"}:
            yield f"`{line}`: plumbline itself has only --help and --version"
        if not call:
            continue
        words = call[1].split()
        command = command_of(words, flags)
        groups = {name.split()[0] for name in flags if " " in name}
        if command is None:
            if not (words[0] in groups and len(words) == 1):
                yield f"`{line}`: no command '{' '.join(words[:2])}'"
            continue
        for flag in re.findall(r"(?<=\s)--[\w-]+", " ".join(words)):
            if flag != "--help" and flag not in flags[command]:
                yield f"`{line}`: {command} has no {flag}"


def differences(what, code, page):
    for name in sorted(set(code) - set(page)):
        yield f"{what}: `{name}` is in the code, not on the page"
    for name in sorted(set(page) - set(code)):
        yield f"{what}: `{name}` is on the page, not in the code"


def check_command_page(root, flags):
    page = sections((root / "docs/reference/commands.md").read_text())
    yield from differences("commands", flags, page)
    for command in sorted(set(flags) & set(page)):
        yield from differences(f"flags of {command}", flags[command], first_column(page[command]))


def check_metrics_page(root):
    page = sections((root / "docs/reference/metrics.md").read_text())
    source = "".join(p.read_text() for p in sorted((root / "src/train").glob("*.cpp")))
    body = re.search(r"void MetricsFile::write\(.*?\n}", source, flags=re.S)[0]
    yield from differences("metrics.jsonl", re.findall(r'\{"(\w+)", ', body),
                           first_column(page["metrics.jsonl"]))
    events = re.findall(r'events_->write\(\s*"(\w+)"', source)
    for pair in re.findall(r'events_->write\([^"]*\? "(\w+)" : "(\w+)"', source):
        events += pair
    yield from differences("events.jsonl", events, first_column(page["events.jsonl"]))
    tags = re.findall(r'"((?:train|speed)/\w+)"', source)
    tags += ["eval/SET" + tag for tag in re.findall(r'"eval/" \+ \w+ \+ "(/\w+)"', source)]
    table = page["TensorBoard"]
    yield from differences("TensorBoard", tags, first_column(table))


def check_error_page(root):
    text = (root / "docs/reference/errors.md").read_text()
    codes = re.search(r"enum class ExitCode.*?};", (root / "include/plumbline/error.h").read_text(),
                      flags=re.S)[0]
    yield from differences("exit codes", re.findall(r"(\w+) = (\d+)", codes),
                           [(name, code) for code, name in
                            re.findall(r"^\| (\d+) \| `(\w+)`", text, flags=re.M)])
    classes = re.search(r"kNames\[.*?};", (root / "include/plumbline/bad_sample.h").read_text(),
                        flags=re.S)[0]
    yield from differences("bad samples", re.findall(r'"(\w+)"', classes),
                           first_column(sections(text)["Bad samples"]))


def struct_layout(header, name):
    """(offset, bytes, field) of a struct of fixed-width members without padding."""
    sizes = {"std::array<char, 8>": 8, "ShardVerdict": 8}
    body = re.search(rf"struct {name} {{(.*?)^}};", header, flags=re.M | re.S)[1]
    offset, fields = 0, []
    for line in body.splitlines():
        member = re.match(r"\s*((?:std::)?\w+(?:<.*>)?) (\w+ = .*?;)", line)
        if not member:
            continue
        kind = member[1]
        size = sizes.get(kind) or (88 if "kBadSampleClasses" in kind
                                   else int(re.search(r"int(\d+)_t", kind)[1]) // 8)
        for field in re.findall(r"(\w+) = ", member[2]):
            fields.append((offset, size, field))
            offset += size
    return fields


def check_shard_page(root):
    text = sections((root / "docs/reference/shards.md").read_text())["The index"]
    header = (root / "src/data/shard_index.h").read_text()
    tables = text.split("\nRecord:")
    for name, table in zip(("IndexHeader", "IndexRecord"), tables):
        rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)`", table, flags=re.M)
        layout = struct_layout(header, name)
        yield from differences(name, layout, [(int(a), int(b), c) for a, b, c in rows])
        asserted = "kIndexHeaderBytes" if name == "IndexHeader" else r"sizeof\(IndexRecord\)"
        size = int(re.search(rf"static_assert\({asserted} == (\d+)\)", header)[1])
        if layout[-1][0] + layout[-1][1] != size:
            yield f"{name}: fields end at {layout[-1][0] + layout[-1][1]}, its size is {size}"


def problems(root):
    flags = read_flags(root)
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    if len(pages) < 10:
        yield f"only {len(pages)} pages were found below {root}"
    for page in pages:
        if not page.exists():
            yield f"{page.name} is missing"
            continue
        text = page.read_text()
        found = [*check_links(page, text), *check_words(text), *check_paths(root, text),
                 *check_commands(text, flags)]
        for problem in found:
            yield f"{page.relative_to(root)}: {problem}"
    for check in (check_metrics_page, check_error_page, check_shard_page):
        yield from check(root)
    yield from check_command_page(root, flags)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = list(problems(root))
    print("\n".join(found) or "the documentation fits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
