"""import and export against transformers, OpenAI's archives and SigLIP's files; what is refused."""

import json
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import ROOT

try:
    import numpy
    import open_clip
    import torch
    from safetensors.torch import load_file, save_file

    from foreign import TEXTS, TINY, ForeignTest, build, optimizer_of, step, tiny_vit
    from jax_siglip import SIGLIP, to_jax
except ImportError as error:
    ForeignTest, open_clip, MISSING = unittest.TestCase, None, str(error)

needs_open_clip = unittest.skipIf(open_clip is None, "open_clip or torch is missing in this Python")


@needs_open_clip
class HuggingFace(ForeignTest):
    def setUp(self):
        super().setUp()
        try:
            import transformers
        except ImportError as error:
            self.skipTest(f"no transformers: {error}")
        self.transformers = transformers

    def clip(self, **more):
        common = {"hidden_size": 64, "intermediate_size": 100, "num_hidden_layers": 2,
                  "num_attention_heads": 2, "hidden_act": "quick_gelu"}
        torch.manual_seed(4)
        model = self.transformers.CLIPModel(self.transformers.CLIPConfig(
            text_config={**common, "max_position_embeddings": 16, "vocab_size": 49408, **more},
            vision_config={**common, "image_size": 32, "patch_size": 8},
            projection_dim=32)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape))
        return model

    def load(self, folder):
        model, problems = self.transformers.CLIPModel.from_pretrained(folder,
                                                                      output_loading_info=True)
        self.assertFalse(any(problems.values()), problems)
        return model.eval()

    def compare(self, checkpoint, folder, model):
        """With the preprocessing and the tokenizer of the exported folder."""
        ours, images = self.features(checkpoint)
        tokenizer = self.transformers.CLIPTokenizer.from_pretrained(folder)
        ids = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=16,
                        return_tensors="pt")
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        transform = open_clip.image_transform(
            settings["crop_size"]["height"], is_train=False, mean=settings["image_mean"],
            std=settings["image_std"])
        with torch.no_grad():
            image = model.get_image_features(
                pixel_values=torch.stack([transform(i) for i in images]))
            text = model.get_text_features(**ids)
        plain = lambda x: x if isinstance(x, torch.Tensor) else x.pooler_output
        self.close(ours, plain(image), plain(text))

    def test_theirs_here_and_there_again(self):
        model = self.clip()
        model.save_pretrained(self.folder / "hf")
        checkpoint = self.move_in(self.folder / "hf")
        out = self.move_out(checkpoint, "hf")
        loaded = self.load(out)
        self.same(loaded.state_dict(), model.state_dict())
        for part in ("text_config", "vision_config"):
            theirs, ours = (getattr(m.config, part) for m in (model, loaded))
            for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "hidden_act",
                        "num_attention_heads", "layer_norm_eps"):
                self.assertEqual(getattr(ours, key), getattr(theirs, key), (part, key))
        self.compare(checkpoint, out, loaded)
        again = self.move_in(out, name="again")
        self.same(self.weights(again), self.weights(checkpoint))
        self.assertEqual(self.schema(again), self.schema(checkpoint))
        # In two files, and as a pickle.
        model.save_pretrained(self.folder / "parts", max_shard_size="6MB")
        self.assertTrue((self.folder / "parts" / "model.safetensors.index.json").exists())
        self.same(self.weights(self.move_in(self.folder / "parts", name="from_parts")),
                  self.weights(checkpoint))
        (out / "model.safetensors").unlink()
        torch.save(model.state_dict(), out / "pytorch_model.bin")
        self.same(self.weights(self.move_in(out, name="from_bin")), self.weights(checkpoint))

    def test_a_run_there_and_openclip_between(self):
        self.plumbline("train", self.run_file(steps=2))
        run = self.folder / "run"
        first = run / "checkpoints" / "step-00000002"
        out = self.move_out(run, "hf")
        self.compare(run, out, self.load(out))
        self.same(self.weights(self.move_in(out)), self.weights(first))
        hub = self.move_out(self.folder / "in", "openclip", name="hub")
        self.same(load_file(hub / "open_clip_model.safetensors"), self.weights(first))
        self.transformers.CLIPImageProcessor.from_pretrained(out)

    def test_pooling_at_an_end_token_of_its_own(self):
        model = self.clip(eos_token_id=320)  # a common token, so that the position matters
        model.save_pretrained(self.folder / "hf")
        checkpoint = self.move_in(self.folder / "hf")
        self.assertEqual(self.schema(checkpoint)["text_cfg"]["eos_id"], 320)
        out = self.move_out(checkpoint, "hf")
        self.compare(checkpoint, out, self.load(out))

    def test_what_it_cannot_hold_is_named(self):
        config = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "no_ln_pre": True}}
        torch.save(build(config).state_dict(), self.folder / "w.pt")
        checkpoint = self.move_in(self.folder / "w.pt", "--model", self.model_file(config))
        done = self.plumbline("export", "--checkpoint", checkpoint, "--format", "hf", "--out",
                              self.folder / "none", expect=2)
        self.assertIn("no ln_pre", done.stderr)
        self.assertEqual([p for p in self.folder.iterdir() if p.name.startswith("none")], [])

    def test_other_models_are_refused(self):
        self.clip().save_pretrained(self.folder / "hf")
        config = json.loads((self.folder / "hf" / "config.json").read_text())

        def refused(changes, code, says, *arguments):
            (self.folder / "hf" / "config.json").write_text(json.dumps({**config, **changes}))
            self.refused(self.folder / "hf", *arguments, code=code, says=says)

        refused({"model_type": "siglip"}, 2, ['model_type is "siglip"', "CLIPModel"])
        refused({"model_type": None}, 2, ["model_type is null"])
        refused({"model_type": 7}, 2, ["model_type is 7"])
        refused({"vision_config": {**config["vision_config"], "hidden_act": "relu"}}, 2, ["'relu'"])
        refused({"vision_config": {**config["vision_config"], "hidden_size": "wide"}}, 65, [])
        refused({"text_config": {**config["text_config"], "num_hidden_layers": 1}}, 2,
                ["unexpected", "text_model.encoder.layers.1.mlp.fc1.weight"])
        refused({}, 2, ["quick_gelu", "tiny-vit"], "--model", "tiny-vit")
        (self.folder / "hf" / "config.json").write_text("[1]")
        self.refused(self.folder / "hf", code=65, says=["config.json"])
        (self.folder / "hf" / "config.json").write_text("{")
        self.refused(self.folder / "hf", code=65, says=["config.json at byte"])


@needs_open_clip
class OpenAi(ForeignTest):
    def archive(self, config):
        model = build(config)
        torch.jit.save(torch.jit.script(model.half()), self.folder / "clip.pt")
        return model.float()

    def test_vit(self):
        model = self.archive(TINY)
        checkpoint = self.move_in(self.folder / "clip.pt")
        self.same(self.weights(checkpoint), model.state_dict())
        self.compare_open_clip(checkpoint, model, open_clip.image_transform(32, is_train=False),
                               open_clip.SimpleTokenizer(context_length=16))
        self.refused(self.folder / "clip.pt", "--model", "tiny-vit", code=2, says=["quick_gelu"])

    def test_resnet(self):
        config = {**TINY, "vision_cfg": {"image_size": 32, "layers": [1, 1, 2, 1], "width": 16}}
        model = self.archive(config)
        self.same(self.weights(self.move_in(self.folder / "clip.pt")), model.state_dict())


@needs_open_clip
class SigLip(ForeignTest):
    def test_blocks_apart_and_stacked(self):
        from open_clip.convert import load_big_vision_weights
        state = build(SIGLIP).state_dict()
        for stacked in (False, True):
            with self.subTest(stacked=stacked):
                numpy.savez(self.folder / "w.npz", **to_jax(state, 12, 1, stacked))
                theirs = build({**SIGLIP, "init_logit_bias": 3.0}, seed=9)
                load_big_vision_weights(theirs, str(self.folder / "w.npz"))
                self.same(theirs.state_dict(), state)
                checkpoint = self.move_in(self.folder / "w.npz", "--model",
                                          self.model_file(SIGLIP), name=f"in-{stacked}")
                self.same(self.weights(checkpoint), state)
        whole = (self.folder / "w.npz").read_bytes()
        (self.folder / "cut.npz").write_bytes(whole[:len(whole) // 2])
        self.refused(self.folder / "cut.npz", "--model", self.model_file(SIGLIP), code=65,
                     says=["cut.npz at byte"])
        self.refused(self.folder / "w.npz", "--model", "tiny-vit", code=2, says=["unexpected"])
        self.refused(self.folder / "w.npz", code=2, says=["--model"])


class Foreign:
    """A pickle that would run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@needs_open_clip
class Refusals(ForeignTest):
    def setUp(self):
        super().setUp()
        self.state = build(tiny_vit()).state_dict()

    def save(self, state, name="bad.pt"):
        torch.save(state, self.folder / name)
        return self.folder / name

    def test_names_and_shapes_are_listed_in_full(self):
        state = dict(self.state)
        state["extra"] = state.pop("logit_scale")
        state["more"] = state.pop("ln_final.bias")
        state["visual.proj"] = state["visual.proj"][:, :16]
        state["text_projection"] = state["text_projection"].flatten()
        says = ["2 missing:", "logit_scale []", "ln_final.bias [64]", "2 unexpected:", "extra []",
                "more [64]", "2 of another shape", "visual.proj [64, 16], [64, 32]",
                "text_projection [2048], [64, 32]"]
        self.refused(self.save(state), "--model", "tiny-vit", code=2, says=says)
        save_file({k: v.contiguous() for k, v in state.items()}, self.folder / "bad.safetensors")
        self.refused(self.folder / "bad.safetensors", "--model", "tiny-vit", code=2, says=says)

    def test_cut_files(self):
        torch.jit.save(torch.jit.script(build(TINY).half()), self.folder / "jit.pt")
        self.save(self.state, "w.pt")
        save_file(self.state, self.folder / "w.safetensors")
        for name in ("w.pt", "w.safetensors", "jit.pt"):
            whole = (self.folder / name).read_bytes()
            for length in (0, 3, 100, len(whole) // 3, len(whole) - 1000, len(whole) - 1):
                with self.subTest(name=name, length=length):
                    cut = self.folder / f"cut{Path(name).suffix}"
                    cut.write_bytes(whole[:length])
                    self.refused(cut, "--model", "tiny-vit", code=65, says=[str(cut), "byte"])

    def test_flipped_bytes(self):
        whole = bytearray(self.save(self.state).read_bytes())
        for at in (len(whole) // 2, whole.index(b"FloatStorage")):
            changed = bytearray(whole)
            changed[at] ^= 0x40
            (self.folder / "flip.pt").write_bytes(changed)
            self.refused(self.folder / "flip.pt", "--model", "tiny-vit", code=65, says=["flip.pt"])

    def test_foreign_names_in_a_pickle_never_run(self):
        touched = self.folder / "touched"
        for value, name in ((Foreign(touched), f"'{os.system.__module__}.system'"),
                            (Path("x"), "'pathlib."), (numpy.float32(1), "'numpy")):
            for root in ({**self.state, "a": value}, {"state_dict": self.state, "args": value}):
                self.refused(self.save(root), "--model", "tiny-vit", code=65, says=[name])
        torch.save({"model_type": Foreign(touched)}, self.folder / "x.bin")
        self.refused(self.folder / "x.bin", "--model", "tiny-vit", code=65, says=["system'"])
        self.assertFalse(touched.exists())

    def test_values_that_are_not_finite(self):
        for bad in (float("nan"), float("inf")):
            state = {k: v.clone() for k, v in self.state.items()}
            state["ln_final.weight"][5] = bad
            self.refused(self.save(state), "--model", "tiny-vit", code=65,
                         says=["'ln_final.weight'", "not finite", "element 5"])
        model = build(tiny_vit())
        optimizer = optimizer_of(model)
        step(model, optimizer)
        training = {"epoch": 1, "state_dict": model.state_dict(),
                    "optimizer": optimizer.state_dict()}
        training["optimizer"]["state"][3]["exp_avg"].view(-1)[0] = float("nan")
        self.refused(self.save(training), "--model", "tiny-vit", code=65,
                     says=["exp_avg.", "not finite"])
        del training["optimizer"]["state"][3]
        self.refused(self.save(training), "--model", "tiny-vit", code=2,
                     says=["fit neither openclip3 nor openclip4"])

    def test_wrong_arguments(self):
        file = self.save(self.state)
        self.refused(file, code=2, says=["--model"])
        self.refused(file, "--model", "no-such-model", code=2, says=["no model 'no-such-model'"])
        self.refused(file, "--model", "RN50", code=2, says=["missing", "unexpected"])
        self.refused(self.folder / "absent.pt", code=2, says=["absent.pt"])
        self.refused(self.folder, code=2, says=["neither open_clip_config.json nor config.json"])
        self.refused(file, "--model", "tiny-vit", "--tokenizer", "sentencepiece:none.model", code=65,
                     says=["none.model"])
        bert = tiny_vit()
        bert["text_cfg"]["hf_tokenizer_name"] = "bert-base-uncased"
        self.refused(file, "--model", self.model_file(bert), code=2,
                     says=["'bert-base-uncased'", "--tokenizer"])
        checkpoint = self.move_in(file, "--model", "tiny-vit")
        self.refused(checkpoint, code=2, says=["a checkpoint of plumbline already"])

    def test_an_existing_out_is_left_alone(self):
        file = self.save(self.state)
        checkpoint = self.move_in(file, "--model", "tiny-vit")
        before = sorted(self.folder.rglob("*"))
        for out in (self.folder / "in", file):
            for arguments in (("import", file, "--model", "tiny-vit"),
                              ("export", "--checkpoint", checkpoint, "--format", "openclip")):
                done = self.plumbline(*arguments, "--out", out, expect=2)
                self.assertIn("exists already", done.stderr)
        done = self.plumbline("export", "--checkpoint", checkpoint, "--format", "onnx", "--out",
                              self.folder / "new", expect=2)
        self.assertIn("onnx", done.stderr)
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        (self.folder / "empty").mkdir()
        self.move_out(checkpoint, "openclip", name="empty")


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
