"""Logistic regression without penalty: sklearn_probe.py IN.safetensors OUT.safetensors

IN: train [n, d], train_targets, test [m, d]. OUT: logits [m, classes] of the optimum.
"""

import sys

import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

data = load_file(sys.argv[1])
model = LogisticRegression(C=float("inf"), max_iter=300, tol=1e-4)
model.fit(data["train"].double().numpy(), data["train_targets"].numpy())
logits = model.decision_function(data["test"].double().numpy())
save_file({"logits": torch.from_numpy(logits).float().contiguous()}, sys.argv[2])
