// The reducer on virtual ranks: inputs are small integers, so that sums are exact.
#include "ops/gradient_reducer.h"

#include <gtest/gtest.h>

#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Two layers of integers; `shared` is used twice, `unused` never, `by_hand` not by autograd.
struct Net {
  at::Tensor first, shared, unused, by_hand;
  explicit Net(at::ScalarType type = at::kFloat) {
    const auto make = [type](at::IntArrayRef shape) {
      return (at::arange(c10::multiply_integers(shape), type).view(shape).remainder(5) - 2)
          .detach()
          .requires_grad_();
    };
    first = make({7, 33});
    shared = make({33, 33});
    unused = make({19});
    by_hand = make({});
  }
  [[nodiscard]] GradientReducer::Parameters parameters() const {
    return {{"first", first}, {"shared", shared}, {"unused", unused}, {"by_hand", by_hand}};
  }
  /// Loss of this rank's rows.
  [[nodiscard]] at::Tensor loss(int rank, int batch) const {
    const at::Tensor x =
        (at::arange(3 * 7, first.options().requires_grad(false)).view({3, 7}) + rank + 2 * batch)
            .remainder(3);
    return at::mm(at::mm(at::mm(x, first), shared), shared).sum();
  }
};

/// Sum over ranks and batches of plain gradients.
[[nodiscard]] std::vector<at::Tensor> plain_sums(int world, int batches, at::ScalarType type) {
  std::vector<at::Tensor> sums;
  for (int rank = 0; rank < world; ++rank) {
    for (int batch = 0; batch < batches; ++batch) {
      const Net net(type);
      net.loss(rank, batch).backward();
      const std::vector<at::Tensor> parts = {net.first.grad(), net.shared.grad()};
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (sums.size() == i) {
          sums.push_back(parts[i].clone());
        } else {
          sums[i].add_(parts[i]);
        }
      }
    }
  }
  return sums;
}

struct Job {
  int world, batches;
  std::int64_t bucket_bytes;
  at::ScalarType type = at::kFloat;
};

void expect_plain_sums(const Job& job) {
  const std::vector<at::Tensor> want = plain_sums(job.world, job.batches, job.type);
  run_in_process(job.world, [&](Communicator& ranks) {
    Net net(job.type);
    GradientReducer reducer(net.parameters(), ranks, job.bucket_bytes);
    for (int step = 0; step < 2; ++step) {
      reducer.zero();
      for (int batch = 0; batch < job.batches; ++batch) {
        reducer.set_sync(batch + 1 == job.batches);
        net.loss(ranks.rank(), batch).backward();
      }
      net.by_hand.mutable_grad().add_(ranks.rank() + 1);
      reducer.mark_ready(net.by_hand);
      reducer.finish();
      EXPECT_TRUE(at::equal(net.first.grad(), want[0])) << "step " << step;
      EXPECT_TRUE(at::equal(net.shared.grad(), want[1])) << "step " << step;
      EXPECT_EQ(net.unused.grad().abs().sum().item<double>(), 0);
      EXPECT_EQ(net.by_hand.grad().item<double>(), job.world * (job.world + 1) / 2);
      EXPECT_EQ(reducer.unused(), std::vector<std::string>{"unused"});
    }
    const double squares =
        (want[0].to(at::kDouble).square().sum() + want[1].to(at::kDouble).square().sum() +
         net.by_hand.grad().to(at::kDouble).square())
            .item<double>();
    EXPECT_DOUBLE_EQ(reducer.norm(), std::sqrt(squares));
    if (job.world == 1) {
      EXPECT_EQ(reducer.bytes_reduced(), 0);
    } else {
      const std::int64_t elements = 7 * 33 + 33 * 33 + 19 + 1;
      EXPECT_GE(reducer.bytes_reduced(),
                2 * elements * static_cast<std::int64_t>(c10::elementSize(job.type)));
    }
  });
}

TEST(GradientReducer, GivesTheSumOfAllRanksGradients) {
  for (const Job& job : {Job{1, 1, 1 << 20}, Job{2, 1, 1}, Job{2, 3, 1024}, Job{3, 1, 1024},
                         Job{4, 2, 1 << 20}, Job{3, 2, 1, at::kDouble}}) {
    SCOPED_TRACE(plumbline::str(job.world, " ranks, ", job.batches, " micro-batches, ", job.type));
    expect_plain_sums(job);
  }
}

TEST(GradientReducer, SmallBucketsGoOutInOrderAndLargeOnesHoldAll) {
  run_in_process(2, [](Communicator& ranks) {
    const Net net;
    EXPECT_EQ(GradientReducer(net.parameters(), ranks, 1).buckets(), 4);
    EXPECT_EQ(GradientReducer(net.parameters(), ranks, 1 << 20).buckets(), 1);
  });
}

TEST(GradientReducer, GradientsAreAlignedViewsOfOneBuffer) {
  const auto ranks = make_single_communicator();
  const Net net;
  const GradientReducer reducer(net.parameters(), *ranks);
  for (const auto& [name, parameter] : net.parameters()) {
    const auto address = reinterpret_cast<std::uintptr_t>(parameter.grad().data_ptr());
    const auto base = reinterpret_cast<std::uintptr_t>(parameter.grad().storage().data());
    EXPECT_EQ((address - base) % 128, 0u) << name;
    EXPECT_EQ(parameter.grad().storage().data(), net.first.grad().storage().data()) << name;
  }
}

TEST(GradientReducer, RefusesASecondSynchronisedPass) {
  const auto ranks = make_single_communicator();
  const Net net;
  GradientReducer reducer(net.parameters(), *ranks);
  reducer.zero();
  net.loss(0, 0).backward();
  EXPECT_THROW(net.loss(0, 1).backward(), std::exception);
}

TEST(GradientReducer, RefusesAReplacedGradient) {
  const auto ranks = make_single_communicator();
  const Net net;
  GradientReducer reducer(net.parameters(), *ranks);
  net.first.mutable_grad() = at::zeros_like(net.first);
  EXPECT_THROW(reducer.finish(), InternalError);
}

TEST(GradientReducer, HooksOutliveItHarmlessly) {
  const auto ranks = make_single_communicator();
  const Net net;
  { const GradientReducer reducer(net.parameters(), *ranks); }
  EXPECT_NO_THROW(net.loss(0, 0).backward());
}

TEST(GradientReducer, RanksWithOtherParametersAreAnError) {
  EXPECT_THROW(run_in_process(2,
                              [](Communicator& ranks) {
                                const Net net;
                                auto parameters = net.parameters();
                                if (ranks.rank() == 1) std::swap(parameters[0], parameters[1]);
                                const GradientReducer reducer(parameters, ranks);
                              }),
               Error);
}

TEST(SumOfSquares, IsTheSameForAnyLayoutAndExactInDouble) {
  const at::Tensor x = at::arange(200'001, at::kFloat).remainder(7);
  const double want = x.to(at::kDouble).square().sum().item<double>();
  EXPECT_EQ(sum_of_squares(x), want);
  EXPECT_EQ(sum_of_squares(x.to(at::kDouble)), want);
  EXPECT_NEAR(sum_of_squares(x.to(at::kBFloat16)), want, 1e-6 * want);
}

}  // namespace
}  // namespace plumbline
