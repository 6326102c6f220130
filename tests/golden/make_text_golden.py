#!/usr/bin/env python3
"""Token ids of OpenCLIP's SimpleTokenizer for hard captions.

    .venv/bin/python tests/golden/make_text_golden.py                       -> text_golden.bin.gz
    .venv/bin/python tests/golden/make_text_golden.py OUT COUNT SEED        -> OUT, not compressed
    ... make_text_golden.py --wordpiece VOCAB OUT COUNT SEED    the same with BERT uncased, contexts
                                                                of 32, and VOCAB trained on the way
    ... make_text_golden.py --sentencepiece FOLDER OUT COUNT SEED    OpenCLIP's HFTokenizer on models
                                 trained here, FOLDER/{t5,gemma,xlmr}.model: modes 0, 1, 2
    ... make_text_golden.py --reduction OUT COUNT SEED               one caption COUNT times in each
                                 reduction of KINDS, contexts of 12
    ... make_text_golden.py --measure FILE                      captions a second, a caption a line

A record is: mode u8 (0 lower, 1 whitespace, 2 canonicalize), bytes u32, UTF-8, ids before cutting u16
(with the special ones), ids of the row u8 (trailing padding left out), ids u16; little-endian.
"""
import gzip
import importlib.metadata
import importlib.util
import json
import pathlib
import random
import struct
import sys
import time
import unicodedata

from caption_corpus import FIXED, WORDS, captions

MODES = ["lower", "whitespace", "canonicalize"]
PINS = {"open_clip_torch": "3.3.0", "ftfy": "6.3.1", "regex": "2026.11.15"}


def peer_tokenizers():
    """The module without the package around it, whose import takes seconds."""
    for package, version in PINS.items():
        found = importlib.metadata.version(package)
        if found != version:
            sys.exit(f"{package} {found} is installed, {version} is the reference")
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    path = pathlib.Path(package) / "tokenizer.py"
    spec = importlib.util.spec_from_file_location("peer_tokenizer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(mode, text, total, row):
    raw = text.encode("utf-8")
    while row and row[-1] == 0:
        row.pop()
    return (struct.pack("<BI", mode, len(raw)) + raw
            + struct.pack(f"<HB{len(row)}H", total, len(row), *row))


def main(out, count, seed):
    peer = peer_tokenizers().SimpleTokenizer
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

    clean = peer_tokenizers().get_clean_fn("whitespace")
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


# As the models that OpenCLIP's configurations name were made: SigLIP (T5), SigLIP2 (Gemma) and
# MetaCLIP2 (XLM-R): trainer settings, file and settings of the tokenizer's folder, cleaning.
SENTENCEPIECE = {
    "t5": ({"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
           "spiece.model", {"tokenizer_class": "T5Tokenizer", "pad_token": "</s>", "extra_ids": 0},
           "canonicalize"),
    "gemma": ({"model_type": "bpe", "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3,
               "byte_fallback": True, "normalization_rule_name": "identity",
               "add_dummy_prefix": False, "remove_extra_whitespaces": False},
              "tokenizer.model", {"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>",
                                  "add_bos_token": False, "add_eos_token": True,
                                  "padding_side": "right"}, "canonicalize"),
    "xlmr": ({"model_type": "unigram", "unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
             "sentencepiece.bpe.model", {"tokenizer_class": "XLMRobertaTokenizer"}, "whitespace"),
}


def train_sentencepiece(path, options, clean, seed):
    import sentencepiece

    rng = random.Random(seed)
    texts = [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(2, 12))) for _ in range(3000)]
    texts = [clean(text) for text in 3 * FIXED + texts]
    with path.open("wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(t for t in texts if t and "\0" not in t and len(t) < 200),
            model_writer=model, vocab_size=3000, hard_vocab_limit=False, num_threads=1,
            minloglevel=2, character_coverage=0.999, **options)


def mark_behind_mapped(text):
    """Whether a combining mark stands behind a character that NFKC changes: there the Rust library
    looks up the pair as one, finds the first alone, and forgets the mark; Google's keeps it."""
    import regex

    return any(unicodedata.normalize("NFKC", cluster[0]) != cluster[0] or
               unicodedata.normalize("NFKC", cluster[:2]) != cluster[:2]
               for cluster in regex.findall(r"\X", text) if len(cluster) > 1)


def has_tie(google, text):
    """Whether the best two segmentations are the same pieces in another order, equally likely:
    which of them a library takes is rounding."""
    best = google.nbest_encode(text, nbest_size=2, out_type=int)
    return len(best) == 2 and sorted(best[0]) == sorted(best[1])


def sentencepiece_rows(folder, out, count, seed):
    """Contexts of 64. Where Google's library and the Rust one differ the row is Google's: where
    mark_behind_mapped says so, nowhere else. Captions of has_tie are left out."""
    import sentencepiece

    peer = peer_tokenizers()
    texts = list(captions(count, seed))
    data, differ, ties = bytearray(), 0, 0
    for mode, (name, (options, file, settings, cleaning)) in enumerate(SENTENCEPIECE.items()):
        clean = peer.get_clean_fn(cleaning)
        home = folder / name
        home.mkdir()
        model = folder / f"{name}.model"
        train_sentencepiece(model, options, clean, seed)
        (home / file).write_bytes(model.read_bytes())
        (home / "tokenizer_config.json").write_text(json.dumps(
            {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>", **settings}))
        tokenizer = peer.HFTokenizer(str(home), context_length=64, clean=cleaning)
        google = sentencepiece.SentencePieceProcessor(model_file=str(model))
        for text, row in zip(texts, tokenizer(texts).tolist()):
            cleaned = clean(text)
            if options["model_type"] == "unigram" and has_tie(google, cleaned):
                ties += 1
                continue
            pieces = google.encode(cleaned)
            if name == "xlmr":
                first, pieces, last = [0], [3 if i == 0 else i + 1 for i in pieces], [2]
            else:
                first, last = [], [1]
            own = first + pieces[:64 - len(first) - 1] + last
            own += [0 if name == "gemma" else 1] * (64 - len(own))
            if own != row:
                assert mark_behind_mapped(cleaned), (name, text, row, own)
                differ += 1
            data += record(mode, text, len(first + pieces + last), own)
    out.write_bytes(data)
    print(f"{out}: {len(texts)} captions in {len(SENTENCEPIECE)} models, {ties} left out, "
          f"in {differ} the libraries differ")


KINDS = ["simple", "random", "shuffle"]


def reduction(out, count, seed):
    import torch

    random.seed(seed)
    torch.manual_seed(seed)
    text = "a b c d e f g h i j k l m n o p q r s t u v w x y z cat dog red sky"
    data = bytearray()
    for mode, kind in enumerate(KINDS):
        tokenizer = peer_tokenizers().SimpleTokenizer(context_length=12, reduction_mask=kind)
        for row in tokenizer([text] * count).tolist():
            data += record(mode, text, len(tokenizer.encode(text)) + 2, row)
        data += record(mode, "a cat", 4, tokenizer("a cat")[0].tolist())
    out.write_bytes(data)


def measure(path):
    """Captions a second of the peer over a file, one caption a line."""
    tokenizer = peer_tokenizers().SimpleTokenizer()
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
    elif sys.argv[1:2] == ["--sentencepiece"]:
        sentencepiece_rows(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4]),
                           int(sys.argv[5]))
    elif sys.argv[1:2] == ["--reduction"]:
        reduction(pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) == 4:
        main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) == 1:
        main(pathlib.Path(__file__).with_name("text_golden.bin.gz"), 2000, 1)
    else:
        sys.exit(__doc__)
