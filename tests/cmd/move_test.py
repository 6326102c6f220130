"""import and export against OpenCLIP: weights, training files with moments, whole runs."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from pictures import write_png
from program import ROOT, environment

try:
    import open_clip
    import torch
    from safetensors.torch import load_file, save_file

    from foreign import TINY, ForeignTest, build, optimizer_of, step, tiny_vit
except ImportError as error:
    ForeignTest, open_clip, MISSING = unittest.TestCase, None, str(error)

needs_open_clip = unittest.skipIf(open_clip is None, "open_clip or torch is missing in this Python")
OPENCLIP = ["--dataset-type", "synthetic", "--train-num-samples", "32", "--batch-size", "16",
            "--workers", "0", "--warmup", "2", "--lr", "1e-3", "--device", "cpu",
            "--precision", "fp32", "--save-frequency", "1", "--name", "peer"]


@needs_open_clip
class Weights(ForeignTest):
    def test_state_dicts(self):
        file = self.model_file(TINY)
        state = build(TINY).state_dict()
        torch.save(state, self.folder / "a.pt")
        torch.save({"module." + k: v.half() for k, v in state.items()}, self.folder / "b.bin")
        torch.save({"state_dict": {"_orig_mod." + k: v for k, v in state.items()}},
                   self.folder / "c.pth")
        save_file(state, self.folder / "d.safetensors")
        torch.save({k: torch.nn.Parameter(v.t().contiguous().t() if v.ndim == 2 else v)
                    for k, v in state.items()}, self.folder / "e.pt")
        for name in ("a.pt", "c.pth", "d.safetensors", "e.pt"):
            with self.subTest(name):
                moved = self.move_in(self.folder / name, "--model", file, name=name + ".in")
                self.same(self.weights(moved), state)
                self.assertEqual(self.schema(moved), TINY)
        self.same(self.weights(self.move_in(self.folder / "b.bin", "--model", file)),
                  {k: v.half().float() for k, v in state.items()})

    def test_custom_text_with_and_without_prefix(self):
        config = {**TINY, "custom_text": True}
        state = build(config).state_dict()
        file = self.model_file(config)
        torch.save(state, self.folder / "a.pt")
        torch.save({k.removeprefix("text."): v for k, v in state.items()}, self.folder / "b.pt")
        first = self.move_in(self.folder / "a.pt", "--model", file, name="a")
        self.same(self.weights(first), state)
        self.same(self.weights(self.move_in(self.folder / "b.pt", "--model", file, name="b")), state)
        hub = self.move_out(first, "openclip")
        self.same(open_clip.create_model(f"local-dir:{hub}").state_dict(), state)

    def test_hub_folder_both_ways(self):
        config = {**tiny_vit(), "quick_gelu": True, "init_logit_scale": 2.5}
        config["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
        torch.save(build(config).state_dict(), self.folder / "w.pt")
        checkpoint = self.move_in(self.folder / "w.pt", "--model", self.model_file(config))
        hub = self.move_out(checkpoint, "openclip")
        written = json.loads((hub / "open_clip_config.json").read_text())
        self.assertEqual(written["model_cfg"], config)
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{hub}")
        self.same(model.state_dict(), self.weights(checkpoint))
        self.compare_open_clip(checkpoint, model.eval(), transform,
                               open_clip.get_tokenizer(f"local-dir:{hub}"))
        written["preprocess_cfg"].update(mean=[0.5, 0.4, 0.3], resize_mode="squash")
        (hub / "open_clip_config.json").write_text(json.dumps(written))
        again = self.move_in(hub, name="again")
        self.same(self.weights(again), self.weights(checkpoint))
        self.assertEqual(self.schema(again), config)
        _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{hub}")
        self.compare_open_clip(again, model, transform, open_clip.get_tokenizer(f"local-dir:{hub}"))

    def test_safetensors_is_strict_in_openclip(self):
        self.plumbline("train", self.run_file(steps=2))
        plain = self.move_out(self.folder / "run", "safetensors") / "model.safetensors"
        model = build(tiny_vit(), seed=9)
        self.assertEqual(str(open_clip.load_checkpoint(model, str(plain), strict=True)),
                         "<All keys matched successfully>")
        self.same(model.state_dict(), load_file(plain))

    def test_a_moved_model_is_evaluated_the_same(self):
        self.plumbline("train", self.run_file(steps=2))
        for i in range(12):
            write_png(self.folder / "pictures" / f"c{i % 4}" / f"{i:02}.png", i)
        suite = self.folder / "suite.yaml"
        suite.write_text("templates: photo\nsets:\n  - {name: s, layout: imagefolder, path: "
                         f"'{self.folder}/pictures'}}\n")
        moved = self.move_in(self.move_out(self.folder / "run", "openclip"))
        for name, checkpoint in (("first", self.folder / "run"), ("moved", moved)):
            self.plumbline("evaluate", "--checkpoint", checkpoint, "--suite", suite, "--out",
                           self.folder / name)
        first, second = ((self.folder / name / "predictions" / "s.csv").read_text()
                         for name in ("first", "moved"))
        self.assertEqual(len(first.splitlines()), 13)
        self.assertEqual(second, first)

    def test_other_sizes_are_resized_as_openclip_does(self):
        large = json.loads(json.dumps(TINY))
        large["vision_cfg"]["image_size"], large["text_cfg"]["context_length"] = 48, 24
        torch.save(build(TINY).state_dict(), self.folder / "w.pt")
        theirs = build(large)
        open_clip.load_checkpoint(theirs, str(self.folder / "w.pt"))
        ours = self.weights(self.move_in(self.folder / "w.pt", "--model", self.model_file(large)))
        for name, tensor in theirs.state_dict().items():
            self.assertLess((ours[name] - tensor).abs().max().item(), 1e-6, name)


@needs_open_clip
class Training(ForeignTest):
    def trained(self, rule="openclip3", config=None, lock=False):
        model = build(config or tiny_vit())
        if lock:
            model.lock_image_tower()
        optimizer = optimizer_of(model, rule)
        for _ in range(3):
            step(model, optimizer)
        return model, optimizer

    def save(self, model, optimizer, prefix="module.", name="epoch_2.pt", **more):
        torch.save({"epoch": 2, "name": "run", "optimizer": optimizer.state_dict(),
                    "state_dict": {prefix + k: v for k, v in model.state_dict().items()}, **more},
                   self.folder / name)
        return self.folder / name

    def check_there_and_back(self, model, optimizer, rule, file, name):
        checkpoint = self.move_in(file, "--model", "tiny-vit", name=name)
        self.assertEqual(checkpoint.name, "step-00000003")
        out = self.move_out(checkpoint, "openclip-train", name=name + ".out")
        moved = torch.load(out / "epoch_2.pt", weights_only=True)
        self.assertEqual(moved["epoch"], 2)
        ours = build(tiny_vit(), seed=9)
        if not all(p.requires_grad for p in model.parameters()):
            ours.lock_image_tower()
        open_clip.load_checkpoint(ours, str(out / "epoch_2.pt"), strict=True)
        self.same(ours.state_dict(), model.state_dict())
        theirs = optimizer_of(ours, rule)
        theirs.load_state_dict(moved["optimizer"])
        self.assertEqual(moved["optimizer"]["param_groups"],
                         optimizer.state_dict()["param_groups"])
        for index, moments in optimizer.state_dict()["state"].items():
            self.same(moved["optimizer"]["state"][index], moments)
        step(ours, theirs)
        return ours.state_dict()

    def test_openclip_to_plumbline_to_openclip(self):
        for rule, prefix, lock in (("openclip3", "module.", False), ("openclip3", "", False),
                                   ("openclip4", "module.", False), ("openclip3", "", True)):
            with self.subTest(rule=rule, prefix=prefix, lock=lock):
                model, optimizer = self.trained(rule, lock=lock)
                file = self.save(model, optimizer, prefix)
                name = f"{rule}-{prefix}-{lock}"
                after = self.check_there_and_back(model, optimizer, rule, file, name)
                # The same state, and so the same next step, bit for bit.
                step(model, optimizer)
                self.same(after, model.state_dict())

    def test_fields_of_the_main_branch(self):
        model, optimizer = self.trained()
        file = self.save(model, optimizer, global_step=3, samples_seen=12,
                         scaler={"scale": 65536.0}, state_dict_ema=model.state_dict())
        done = self.plumbline("import", file, "--model", "tiny-vit", "--out", self.folder / "in")
        self.assertIn("scaler", done.stdout)
        state = json.loads((self.folder / "in" / "step-00000003" / "state.json").read_text())
        self.assertEqual((state["step"], state["samples"]), (3, 12))

    def test_run_to_openclip_and_back(self):
        self.plumbline("train", self.run_file(steps=4))
        first = self.folder / "run" / "checkpoints" / "step-00000004"
        (file,) = self.move_out(first, "openclip-train").iterdir()
        second = self.move_in(file, "--model", "tiny-vit")
        self.assertEqual(second.name, first.name)
        self.same(self.weights(second), self.weights(first))
        self.same(self.moments(second), self.moments(first))
        third = self.move_out(second, "openclip-train", name="again") / file.name
        self.assertEqual(third.read_bytes().count(b"exp_avg"), file.read_bytes().count(b"exp_avg"))

    def test_averaged_weights(self):
        """Weights alone are the averaged ones, a training file holds both."""
        self.plumbline("train", self.run_file(steps=4), "--set", "train.ema=0.5")
        checkpoint = self.folder / "run" / "checkpoints" / "step-00000004"
        average = load_file(checkpoint / "model_ema.safetensors")
        self.assertFalse(torch.equal(average["visual.proj"], self.weights(checkpoint)["visual.proj"]))
        for path, expected in ((checkpoint, average), (self.folder / "run", average),
                               (checkpoint / "model.safetensors", self.weights(checkpoint))):
            out = self.move_out(path, "safetensors", name=f"out-{path.name}")
            self.same(load_file(out / "model.safetensors"), expected)
        (file,) = self.move_out(checkpoint, "openclip-train").iterdir()
        written = torch.load(file, weights_only=True)
        for key, expected in (("state_dict", self.weights(checkpoint)),
                              ("state_dict_ema", average)):
            self.same({k.removeprefix("module."): v for k, v in written[key].items()}, expected)

    def test_the_moved_run_goes_on(self):
        """Four steps, out to OpenCLIP's file and back, four more: as eight in one go."""
        whole = self.run_file("whole", 8)
        self.plumbline("train", whole)
        self.plumbline("train", whole, "--set", "checkpoint.every_steps=4", "--set",
                       "checkpoint.keep_last=9", "--set", f"run.dir={self.folder / 'half'}")
        half = self.folder / "half" / "checkpoints" / "step-00000004"
        (file,) = self.move_out(half, "openclip-train").iterdir()
        checkpoint = self.move_in(file, "--model", "tiny-vit")
        done = self.plumbline("train", self.run_file("moved", 8), "--resume", checkpoint)
        self.assertIn("was imported and does not say where in the data", done.stderr)
        self.assertIn("goes on at sample 64, 4 steps of 16", done.stderr)
        moved = {line["step"]: line for line in self.metrics("moved")}
        for line in self.metrics("whole")[4:]:
            for key in ("loss", "lr", "samples", "grad_norm"):
                self.assertEqual(moved[line["step"]][key], line[key], (line["step"], key))
        self.assertEqual(sorted(moved), [5, 6, 7, 8])
        # In the run folder itself the checkpoint is found, on any number of ranks.
        self.plumbline("import", file, "--model", "tiny-vit", "--out",
                       self.folder / "auto" / "checkpoints")
        self.plumbline("train", self.run_file("auto", 8), ranks=2)
        self.assertEqual([line["step"] for line in self.metrics("auto")], [5, 6, 7, 8])
        for line in self.metrics("auto"):
            self.assertLess(abs(line["loss"] / moved[line["step"]]["loss"] - 1), 2e-5)
        # Its own checkpoints are the run's, and resume as always.
        self.plumbline("train", self.folder / "moved.yaml", "--set", "train.steps=9")

    def test_settings_that_differ_are_told(self):
        file = self.save(*self.trained("openclip4"))
        checkpoint = self.move_in(file, "--model", "tiny-vit")
        done = self.plumbline("train", self.run_file(steps=4), "--resume", checkpoint, "--set",
                              "optimizer.betas=[0.8, 0.98]")
        self.assertIn("optimizer.betas[0] is 0.8, of the imported run it was 0.9", done.stderr)
        self.assertIn("decay_rule is openclip3, of the imported run it was openclip4", done.stderr)

    def test_weights_alone_begin_a_run_but_do_not_resume_one(self):
        torch.save(build(tiny_vit()).state_dict(), self.folder / "w.pt")
        checkpoint = self.move_in(self.folder / "w.pt", "--model", "tiny-vit")
        done = self.plumbline("export", "--checkpoint", checkpoint, "--format", "openclip-train",
                              "--out", self.folder / "none", expect=2)
        self.assertIn("no optimizer state", done.stderr)
        self.assertEqual([p.name for p in self.folder.iterdir() if p.name.startswith("none")], [])
        done = self.plumbline("train", self.run_file(steps=4), "--resume", checkpoint, expect=2)
        self.assertIn(f"model.init: {checkpoint}", done.stderr)
        self.plumbline("train", self.run_file("new", steps=2), "--set", f"model.init={checkpoint}",
                       "--set", "optimizer.lr=0", "--set", "loss.max_logit_scale=200")
        self.same(self.weights(self.folder / "new" / "checkpoints" / "step-00000002"),
                  self.weights(checkpoint))
        done = self.plumbline("train", self.run_file("quick", steps=2), "--set",
                              "model.name=tiny-vit-quickgelu", "--set", f"model.init={checkpoint}",
                              expect=2)
        self.assertIn("has the activation gelu", done.stderr)


@needs_open_clip
class Program(ForeignTest):
    """OpenCLIP's own training program on both sides of a move."""

    def openclip_train(self, model, logs, *arguments):
        # It imports pandas, for CSV files of captions alone.
        (self.folder / "pandas.py").touch()
        done = subprocess.run(
            [sys.executable, "-m", "open_clip_train.main", *OPENCLIP, "--model", model, "--logs",
             str(logs), *map(str, arguments)], cwd=self.folder, capture_output=True, text=True,
            timeout=300, env={**environment(), "CUDA_VISIBLE_DEVICES": ""})
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        return done.stderr + done.stdout

    def test_their_run_goes_on_here_and_there_again(self):
        torch.save(build(tiny_vit()).state_dict(), self.folder / "w.pt")
        start = self.move_in(self.folder / "w.pt", "--model", "tiny-vit", name="start")
        hub = f"local-dir:{self.move_out(start, 'openclip', name='hub')}"
        self.openclip_train(hub, self.folder / "a", "--epochs", 2)
        theirs = self.folder / "a" / "peer" / "checkpoints" / "epoch_2.pt"
        checkpoint = self.move_in(theirs, "--model", "tiny-vit")
        self.assertEqual(checkpoint.name, "step-00000004")
        self.plumbline("train", self.run_file(steps=6), "--resume", checkpoint)
        out = self.move_out(self.folder / "run", "openclip-train")
        (ours,) = out.iterdir()
        said = self.openclip_train(hub, self.folder / "b", "--epochs", 3, "--resume", ours)
        self.assertIn("resuming checkpoint", said)
        state = torch.load(self.folder / "b" / "peer" / "checkpoints" / "epoch_3.pt",
                           weights_only=True)["optimizer"]["state"]
        epoch = torch.load(ours, weights_only=True)["epoch"]
        self.assertEqual({int(s["step"]) for s in state.values()}, {6 + 2 * (3 - epoch)})


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
