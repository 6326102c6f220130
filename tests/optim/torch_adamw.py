"""torch.optim.AdamW and clip_grad_norm_ for tests/optim/optim_test.cpp.

argv[1]: folder. Writes start.bin, grad.bin (float32), and after.bin: the parameters after 1, 10 and
100 steps. Two parameters: "w" [300, 301] decayed, "b" [7] not; the gradient of step k is
grad / (k + 1) in float32, clipped to norm 3 by clip_grad_norm_ on odd steps, with the factor of
every step in factor.txt; the learning rate is 1e-3 * (1 + k % 7).
"""
import sys

import torch

torch.manual_seed(3)
w = torch.nn.Parameter(torch.randn(300, 301))
b = torch.nn.Parameter(torch.randn(7))
grads = [0.1 * torch.randn_like(w), 0.1 * torch.randn_like(b)]


def save(name, tensors):
    with open(f"{sys.argv[1]}/{name}", "wb") as out:
        for t in tensors:
            out.write(t.detach().numpy().tobytes())


save("start.bin", [w, b])
save("grad.bin", grads)
optimizer = torch.optim.AdamW(
    [{"params": [b], "weight_decay": 0.0}, {"params": [w], "weight_decay": 0.2}],
    lr=1e-3, betas=(0.9, 0.98), eps=1e-6, foreach=False)
kept = []
with open(f"{sys.argv[1]}/factor.txt", "w") as factors:
    for k in range(100):
        for p, g in zip((w, b), grads):
            p.grad = g / (k + 1)
        factor = 1.0
        if k % 2 == 1:
            norm = torch.nn.utils.clip_grad_norm_([w, b], 3.0)
            factor = float(torch.clamp(3.0 / (norm + 1e-6), max=1.0))
        factors.write(float(factor).hex() + "\n")
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 + k % 7)
        optimizer.step()
        if k + 1 in (1, 10, 100):
            kept += [w.detach().clone(), b.detach().clone()]
save("after.bin", kept)
