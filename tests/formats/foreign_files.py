"""Small files of other programs, to be damaged by damage_test.cpp: argv[1] is the folder.

model.json, state.pt, training.pt, script.pt (TorchScript), weights.safetensors, hub/, hf/, and
npz/NNN.npz: SigLIP's names with arrays of every number of dimensions. No weight means anything.
"""
import json
import sys
from pathlib import Path

import numpy
import open_clip
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from foreign import build, optimizer_of

CONFIG = {"embed_dim": 16, "quick_gelu": True,
          "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 64, "layers": 1},
          "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}}


def moments(model):
    optimizer = optimizer_of(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


def hugging_face(folder):
    import transformers

    common = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
              "num_attention_heads": 1}
    transformers.CLIPModel(transformers.CLIPConfig(
        text_config={**common, "max_position_embeddings": 8, "vocab_size": 64, "eos_token_id": 2},
        vision_config={**common, "image_size": 16, "patch_size": 8}, projection_dim=16
    )).save_pretrained(folder)


def siglip_arrays(rng):
    """A model of width 8 with 2 heads and a layer."""
    w, heads = 8, 2
    arrays = {"t": rng.random(1), "b": rng.random(1), "img/embedding/kernel": rng.random((4, 4, 3, w)),
              "img/embedding/bias": rng.random(w), "img/pos_embedding": rng.random((1, 4, w)),
              "img/MAPHead_0/probe": rng.random((1, 1, w)), "txt/Embed_0/embedding": rng.random((9, w)),
              "txt/pos_embedding": rng.random((1, 5, w)), "txt/head/kernel": rng.random((w, w)),
              "txt/head/bias": rng.random(w)}

    def block(name):
        for part in ("query", "key", "value"):
            arrays[f"{name}/MultiHeadDotProductAttention_0/{part}/kernel"] = rng.random((w, heads, 4))
            arrays[f"{name}/MultiHeadDotProductAttention_0/{part}/bias"] = rng.random((heads, 4))
        arrays[name + "/MultiHeadDotProductAttention_0/out/kernel"] = rng.random((heads, 4, w))
        arrays[name + "/MultiHeadDotProductAttention_0/out/bias"] = rng.random(w)
        for norm in ("LayerNorm_0", "LayerNorm_1"):
            arrays[f"{name}/{norm}/scale"] = arrays[f"{name}/{norm}/bias"] = rng.random(w)
        for dense in ("Dense_0", "Dense_1"):
            arrays[f"{name}/MlpBlock_0/{dense}/kernel"] = rng.random((w, w))
            arrays[f"{name}/MlpBlock_0/{dense}/bias"] = rng.random(w)

    block("img/Transformer/encoderblock_0")
    block("img/MAPHead_0")
    block("txt/Encoder_0/encoderblock_0")
    for norm in ("img/Transformer/encoder_norm", "txt/Encoder_0/encoder_norm"):
        arrays[norm + "/scale"] = arrays[norm + "/bias"] = rng.random(w)
    return {name: array.astype("float32") for name, array in arrays.items()}


def siglip(folder):
    folder.mkdir()
    arrays = siglip_arrays(numpy.random.default_rng(1))
    kinds = [lambda a: a.flatten(), lambda a: a.flatten()[0], lambda a: a[..., None],
             lambda a: a[None], lambda a: a[:0], lambda a: a[None, None, None, None],
             lambda a: a.astype("int64"), lambda a: a[..., :1], lambda a: a.astype(">f4")]
    numpy.savez(folder / "whole.npz", **arrays)
    numpy.savez(folder / "fortran.npz", **{k: numpy.asfortranarray(a) for k, a in arrays.items()})
    number = 0
    for name in arrays:
        stacked = name.replace("encoderblock_0", "encoderblock")
        for to, kind in [(name, kind) for kind in kinds] + [(stacked, kinds[1])]:
            changed = {k: v for k, v in arrays.items() if k != name}
            changed[to] = kind(arrays[name])
            numpy.savez(folder / f"{number:03}.npz", **changed)
            number += 1


def main(folder):
    (folder / "model.json").write_text(json.dumps(CONFIG))
    model = build(CONFIG)
    state = model.state_dict()
    torch.save(state, folder / "state.pt")
    torch.save({"epoch": 1, "name": "run", "state_dict": {"module." + k: v for k, v in state.items()},
                "state_dict_ema": state, "optimizer": moments(model)}, folder / "training.pt")
    save_file(state, folder / "weights.safetensors")
    (folder / "hub").mkdir()
    save_file(state, folder / "hub" / "open_clip_model.safetensors")
    (folder / "hub" / "open_clip_config.json").write_text(json.dumps(
        {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}))
    hugging_face(folder / "hf")
    siglip(folder / "npz")
    torch.jit.save(torch.jit.script(model.half()), folder / "script.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
