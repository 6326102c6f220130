// Cross-entropy of a classifier, with the off-target sum kept apart as in clip_loss: the gradient
// of the target is -R/(R + p), never softmax - 1, which cancels once a class is learned.
#include "loss/tiles.h"
#include "ops/collectives.h"
#include "plumbline/error.h"

namespace plumbline {

ClassLossOutput cross_entropy_loss(const at::Tensor& logits_BK, const at::Tensor& labels_B,
                                   Communicator& ranks) {
  const at::NoGradGuard no_grad;
  require(logits_BK.dim() == 2 && labels_B.dim() == 1 && labels_B.size(0) == logits_BK.size(0) &&
              labels_B.scalar_type() == at::kLong,
          plumbline::str("cross_entropy loss: logits ", logits_BK.sizes(), " with labels ",
                         labels_B.sizes(), " of type ", at::toString(labels_B.scalar_type())));
  const double B = static_cast<double>(agree_on_rows(logits_BK, ranks).total);
  const at::Tensor label_B1 = labels_B.unsqueeze(1);
  const at::Tensor exponent_BK = logits_BK.detach() - logits_BK.detach().amax(1, /*keepdim=*/true);
  at::Tensor e_BK = exponent_BK.exp();
  const at::Tensor positive_B = e_BK.gather(1, label_B1).squeeze(1);
  e_BK.scatter_(1, label_B1, 0.0);
  const at::Tensor others_B = e_BK.sum(1);
  const at::Tensor u_B = (others_B + positive_B).reciprocal_();
  ClassLossOutput out;
  out.loss = row_loss(others_B, positive_B, exponent_BK.gather(1, label_B1).squeeze(1))
                 .sum(at::kDouble)
                 .div_(B);
  all_reduce(out.loss, Reduce::sum, ranks);
  out.d_logits_BK = e_BK.mul_(u_B.unsqueeze(1))
                        .scatter_(1, label_B1, (others_B * u_B).neg_().unsqueeze(1))
                        .div_(B);
  return out;
}

}  // namespace plumbline
