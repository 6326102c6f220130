#!/usr/bin/env python3
"""Token ids of OpenCLIP's SimpleTokenizer for hard captions.

    .venv/bin/python tests/golden/make_text_golden.py                       -> text_golden.bin.gz
    .venv/bin/python tests/golden/make_text_golden.py OUT COUNT SEED        -> OUT, not compressed
    ... make_text_golden.py --wordpiece VOCAB OUT COUNT SEED    the same with BERT uncased, contexts
                                                                of 32, and VOCAB trained on the way
    ... make_text_golden.py --measure FILE                      captions a second, a caption a line

A record is: mode u8 (0 lower, 1 whitespace, 2 canonicalize), bytes u32, UTF-8, ids before cutting u16
(with the special ones), ids of the row u8 (trailing padding left out), ids u16; little-endian.
"""
import gzip
import importlib.metadata
import importlib.util
import pathlib
import struct
import sys
import time

from caption_corpus import captions

MODES = ["lower", "whitespace", "canonicalize"]
PINS = {"open_clip_torch": "3.3.0", "ftfy": "6.3.1", "regex": "2026.11.15"}


def simple_tokenizer():
    """The class without the package around it, whose import takes seconds."""
    for package, version in PINS.items():
        found = importlib.metadata.version(package)
        if found != version:
            sys.exit(f"{package} {found} is installed, {version} is the reference")
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    path = pathlib.Path(package) / "tokenizer.py"
    spec = importlib.util.spec_from_file_location("peer_tokenizer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer


def record(mode, text, total, row):
    raw = text.encode("utf-8")
    while row and row[-1] == 0:
        row.pop()
    return (struct.pack("<BI", mode, len(raw)) + raw
            + struct.pack(f"<HB{len(row)}H", total, len(row), *row))


def main(out, count, seed):
    peer = simple_tokenizer()
    tokenizers = [peer(clean=mode) for mode in MODES]
    data = bytearray()
    for i, text in enumerate(captions(count, seed)):
        # Every caption in the usual mode, every third in the others.
        for mode in [0, 1 + i // 3 % 2] if i % 3 == 0 else [0]:
            tokenizer = tokenizers[mode]
            row = tokenizer(text)[0].tolist()
            data += record(mode, text, len(tokenizer.encode(text)) + 2, row)
    if out.suffix == ".gz":
        data = gzip.compress(bytes(data), 9, mtime=0)
    out.write_bytes(data)
    print(f"{out}: {len(data)} bytes, {count} captions")


def wordpiece(vocabulary, out, count, seed):
    """As open_clip's HFTokenizer with strip_sep_token, on a vocabulary made here."""
    import tokenizers
    from transformers import BertTokenizerFast

    clean = simple_tokenizer()(clean="whitespace").clean_fn
    texts = list(captions(count, seed))
    trainer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(texts[::3], vocab_size=6000, min_frequency=1, show_progress=False)
    pieces = trainer.get_vocab()
    pathlib.Path(vocabulary).write_text(
        "".join(piece + "\n" for piece in sorted(pieces, key=pieces.get)), encoding="utf-8")
    peer = BertTokenizerFast(vocabulary)
    data = bytearray()
    for text in texts:
        cleaned = clean(text)
        row = peer([cleaned], max_length=32, padding="max_length", truncation=True).input_ids[0]
        row = [0 if i == peer.sep_token_id else i for i in row]
        data += record(1, text, len(peer(cleaned).input_ids), row)
    pathlib.Path(out).write_bytes(data)


def measure(path):
    """Captions a second of the peer over a file, one caption a line."""
    tokenizer = simple_tokenizer()()
    lines = pathlib.Path(path).read_text(encoding="utf-8").split("\n")[:-1]
    start = time.perf_counter()
    for line in lines:
        tokenizer(line)
    print(len(lines) / (time.perf_counter() - start))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    elif sys.argv[1:2] == ["--wordpiece"]:
        wordpiece(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    elif len(sys.argv) == 4:
        main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) == 1:
        main(pathlib.Path(__file__).with_name("text_golden.bin.gz"), 2000, 1)
    else:
        sys.exit(__doc__)
