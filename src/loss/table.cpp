// Every contrastive loss by its name in a run file. A new one: its file, its declaration in
// plumbline/loss.h, a line here, a test.
#include <array>
#include <string>

#include "kernels/contrastive/contrastive.h"
#include "plumbline/error.h"
#include "plumbline/loss.h"

namespace plumbline {
namespace {

struct NamedLoss {
  std::string_view kind;
  LossFunction function;
};

constexpr std::array kLosses = {
    NamedLoss{"clip", clip_loss},
    NamedLoss{"siglip", siglip_loss},
    NamedLoss{"ntxent", ntxent_loss},
};

}  // namespace

LossTier read_loss_tier(std::string_view name, at::Device device) {
  if (name == "auto") return LossTier::automatic;
  if (name == "t0") return LossTier::t0;
  if (name != "t1") throw UsageError(str("loss.tier: unknown '", name, "' (known: auto, t0, t1)"));
  if (device.is_cuda()) cuda::check_contrastive_device(device.index());
  return LossTier::t1;
}

LossFunction find_loss(std::string_view kind) {
  std::string known;
  for (const NamedLoss& loss : kLosses) {
    if (loss.kind == kind) return loss.function;
    known += (known.empty() ? "" : ", ") + std::string(loss.kind);
  }
  throw UsageError(str("unknown loss '", kind, "' (known: ", known, "; of labels: cross_entropy)"));
}

}  // namespace plumbline
