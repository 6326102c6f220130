"""Values and gradients of OpenCLIP's losses for the features in argv[1], written to argv[2].

In: lines of numbers: rows width scale bias, then image rows, then text rows (float64).
Out: for ClipLoss and SigLipLoss one line each: loss, d log scale, d bias, d image, d text.
"""
import sys

import torch
from open_clip.loss import ClipLoss, SigLipLoss

numbers = [float(x) for x in open(sys.argv[1]).read().split()]
rows, width, scale, bias = int(numbers[0]), int(numbers[1]), numbers[2], numbers[3]
features = torch.tensor(numbers[4:], dtype=torch.float64).view(2, rows, width)
with open(sys.argv[2], "w") as out:
    for loss, kwargs in ((ClipLoss(), {}), (SigLipLoss(), {"logit_bias": 1})):
        image, text = (f.clone().requires_grad_() for f in features)
        t = torch.tensor(scale, dtype=torch.float64).log().requires_grad_()
        beta = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
        if kwargs:
            kwargs["logit_bias"] = beta
        value = loss(image, text, t.exp(), **kwargs)
        value.backward()
        d_beta = beta.grad if beta.grad is not None else torch.zeros(())
        values = [value.detach(), t.grad, d_beta, image.grad, text.grad]
        flat = torch.cat([v.double().flatten() for v in values])
        out.write(" ".join(float(v).hex() for v in flat) + "\n")
