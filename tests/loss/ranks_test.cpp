// Several ranks must give what one rank with the whole batch gives.
#include <gtest/gtest.h>

#include <numeric>

#include "oracle.h"
#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

struct Split {
  const char* kind;
  std::vector<std::int64_t> rows;
  at::ScalarType type;
};

void expect_equal_to_one_rank(const Split& split) {
  const auto& [kind, rows, type] = split;
  const LossFunction loss = find_loss(kind);
  const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  for (const double scale : {14.3, 100.0}) {
    LossInput whole = oracle::input_of(oracle::features(total, 24, 0.4, 11), scale, type);
    if (std::string_view(kind) == "siglip") whole.logit_bias = at::full({}, -10.0, type);
    const LossOutput want = loss(whole, *make_single_communicator());
    std::vector<LossOutput> got(rows.size());
    run_in_process(static_cast<int>(rows.size()), [&](Communicator& ranks) {
      const auto rank = static_cast<std::size_t>(ranks.rank());
      const std::int64_t first =
          std::accumulate(rows.begin(), rows.begin() + ranks.rank(), std::int64_t{0});
      LossInput mine = whole;
      mine.image_BD = whole.image_BD.narrow(0, first, rows[rank]);
      mine.text_BD = whole.text_BD.narrow(0, first, rows[rank]);
      got[rank] = loss(mine, ranks);
    });
    const double tolerance = type == at::kDouble ? 1e-10 : 1e-5;
    std::vector<at::Tensor> d_image, d_text;
    at::Tensor d_scale = at::zeros({}, at::kDouble), d_bias = at::zeros({}, at::kDouble);
    for (const LossOutput& part : got) {
      EXPECT_LT(oracle::distance(part.loss, want.loss), tolerance);
      EXPECT_EQ(part.loss.item<double>(), got[0].loss.item<double>());
      d_image.push_back(part.d_image_BD);
      d_text.push_back(part.d_text_BD);
      d_scale += part.d_logit_scale;
      if (whole.logit_bias.defined()) d_bias += part.d_logit_bias;
    }
    EXPECT_LT(oracle::distance(at::cat(d_image), want.d_image_BD), tolerance);
    EXPECT_LT(oracle::distance(at::cat(d_text), want.d_text_BD), tolerance);
    EXPECT_LT(oracle::distance(d_scale, want.d_logit_scale), tolerance);
    if (whole.logit_bias.defined()) {
      EXPECT_LT(oracle::distance(d_bias, want.d_logit_bias), tolerance);
    }
  }
}

TEST(Ranks, EqualOneRankWithTheWholeBatch) {
  for (const char* kind : {"clip", "siglip", "ntxent"}) {
    for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
      for (const auto& rows : std::vector<std::vector<std::int64_t>>{
               {12}, {6, 6}, {7, 5}, {4, 4, 4}, {1, 8, 3}, {3, 3, 3, 3}, {5, 1, 2, 4}}) {
        SCOPED_TRACE(plumbline::str(kind, " ", type, " ", at::IntArrayRef(rows)));
        expect_equal_to_one_rank({kind, rows, type});
      }
    }
  }
}

TEST(CrossEntropy, EqualsAutogradOverAllRanks) {
  const at::Tensor logits = (20 * oracle::features(9, 5, 0, 8).image_BD).requires_grad_();
  const at::Tensor labels = at::tensor({0, 1, 2, 3, 4, 3, 2, 1, 0}, at::kLong);
  const at::Tensor want = at::cross_entropy_loss(logits, labels);
  want.backward();
  run_in_process(2, [&](Communicator& ranks) {
    const std::int64_t first = ranks.rank() == 0 ? 0 : 4, rows = ranks.rank() == 0 ? 4 : 5;
    const ClassLossOutput got = cross_entropy_loss(logits.detach().narrow(0, first, rows),
                                                   labels.narrow(0, first, rows), ranks);
    EXPECT_NEAR(got.loss.item<double>(), want.item<double>(), 1e-12);
    EXPECT_LT(oracle::distance(got.d_logits_BK, logits.grad().narrow(0, first, rows)), 1e-10);
  });
}

TEST(RanksDiffer, InWidthIsAnError) {
  EXPECT_THROW(run_in_process(2,
                              [](Communicator& ranks) {
                                const auto f =
                                    oracle::features(3, ranks.rank() == 0 ? 8 : 16, 0.3, 1);
                                (void)clip_loss(oracle::input_of(f, 10), ranks);
                              }),
               Error);
}

}  // namespace
}  // namespace plumbline
