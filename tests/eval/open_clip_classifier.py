"""open_clip's zero-shot classifier: CONFIG.json WEIGHTS.safetensors NAMES TEMPLATES OUT.

OUT is a safetensors file with `weights` [classes, embed_dim].
"""

import json
import sys

import open_clip
import torch
from safetensors.torch import load_file, save_file

config, weights, names, templates, out = sys.argv[1:]
torch.set_num_threads(1)
model = open_clip.CLIP(**json.load(open(config)))
model.load_state_dict(load_file(weights))
model.eval()
classifier = open_clip.build_zero_shot_classifier(
    model, open_clip.SimpleTokenizer(), open(names).read().splitlines(),
    [line.replace("{c}", "{}") for line in open(templates).read().splitlines()])
save_file({"weights": classifier.T.contiguous()}, out)
