"""OpenCLIP's losses in process groups of 2 and 4 processes (gloo), for the features in argv[1].

In: lines of numbers: rows width scale bias, then image rows, then text rows (float64); a rank has
    rows / world of them.
Out (argv[2]): a line a case: name, world, then loss, d log scale, d bias, d image, d text as
    DistributedDataParallel makes them: the mean over ranks of the loss and of the gradients of
    parameters. A tower's gradient is linear in those of its features, so that the mean over ranks
    is what a rank's backward pass leaves in its own features, divided by the number of ranks.
"""
import multiprocessing
import sys
import tempfile

import torch
import torch.distributed as dist
from open_clip.loss import ClipLoss, SigLipLoss

CASES = {f"clip {local:d}{gather:d}": lambda rank, world, local=local, gather=gather: ClipLoss(
    local_loss=local, gather_with_grad=gather, rank=rank, world_size=world)
    for local in (False, True) for gather in (False, True)}
CASES.update({f"siglip {how}": lambda rank, world, how=how: SigLipLoss(
    rank=rank, world_size=world, dist_impl=how) for how in ("bidir", "shift", "reduce", "gather")})


def read(path):
    numbers = [float(x) for x in open(path).read().split()]
    rows, width = int(numbers[0]), int(numbers[1])
    return torch.tensor(numbers[4:], dtype=torch.float64).view(2, rows, width), *numbers[2:4]


def rank_of_group(rank, world, meeting, source, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    features, scale, bias = read(source)
    rows = features.shape[1] // world
    for name, make in CASES.items():
        image, text = (f[rank * rows:(rank + 1) * rows].clone().requires_grad_() for f in features)
        t = torch.tensor(scale, dtype=torch.float64).log().requires_grad_()
        beta = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
        more = {"logit_bias": beta} if name.startswith("siglip") else {}
        value = make(rank, world)(image, text, t.exp(), **more)
        value.backward()
        d_beta = beta.grad if beta.grad is not None else torch.zeros((), dtype=torch.float64)
        mean = torch.stack([value.detach(), t.grad, d_beta])
        dist.all_reduce(mean)
        parts = [[torch.empty_like(image) for _ in range(world)] for _ in range(2)]
        dist.all_gather(parts[0], image.grad)
        dist.all_gather(parts[1], text.grad)
        flat = torch.cat([mean, *(torch.cat(part).flatten() for part in parts)]) / world
        results.put((rank, name, [float(v).hex() for v in flat]))
    dist.barrier()
    dist.destroy_process_group()


def group(world, source):
    context = multiprocessing.get_context("fork")  # the imports above are paid once
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        ranks = [context.Process(target=rank_of_group, daemon=True,
                                 args=(rank, world, f"{folder}/meeting", source, results))
                 for rank in range(world)]
        for rank in ranks:
            rank.start()
        given = [results.get(timeout=120) for _ in range(world * len(CASES))]
        for rank in ranks:
            rank.join()
    assert all(rank.exitcode == 0 for rank in ranks)
    for name in CASES:
        of_ranks = [values for _, other, values in given if other == name]
        assert len(of_ranks) == world and all(values == of_ranks[0] for values in of_ranks), name
        yield f"{name} {world} {' '.join(of_ranks[0])}"


if __name__ == "__main__":
    lines = [line for world in (2, 4) for line in group(world, sys.argv[1])]
    with open(sys.argv[2], "w") as out:
        out.write("\n".join(lines) + "\n")
