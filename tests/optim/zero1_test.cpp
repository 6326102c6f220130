// ZeRO-1 against the optimizer that keeps everything: bit for bit, on any number of ranks.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/gradient_reducer.h"
#include "plumbline/optim.h"

namespace plumbline {
namespace {

/// Sizes that leave tails everywhere, a scalar among them.
NamedTensors make_parameters() {
  NamedTensors parameters;
  int seed = 1;
  for (const auto& [name, shape] : std::vector<std::pair<std::string, std::vector<std::int64_t>>>{
           {"w.weight", {37, 91}}, {"w.bias", {91}}, {"scale", {}}, {"v.weight", {50, 3}}}) {
    at::Tensor x = at::arange(c10::multiply_integers(shape), at::kFloat).view(shape);
    parameters.emplace_back(name, (x * 0.37 * seed).sin().detach().requires_grad_());
    ++seed;
  }
  return parameters;
}

/// Gradients of a step; their sum over four quarters does not depend on who holds which quarter.
at::Tensor quarter_gradient(const at::Tensor& parameter, int step, int quarter) {
  const at::Tensor x = at::arange(parameter.numel(), at::kFloat).view(parameter.sizes());
  return ((x * (step + 2)).remainder(7) - 3 + quarter) / 64;
}

struct Trained {
  NamedTensors parameters, moments;  // whole
  std::int64_t applied = 0;
  double norm = 0;
};

/// Goes on for `steps` steps on `world` ranks, at most 4.
Trained train_on(int world, bool sharded, int steps, const Trained* from = nullptr) {
  Trained result;
  run_in_process(world, [&](Communicator& ranks) {
    NamedTensors parameters = make_parameters();
    GradientReducer reducer(parameters, ranks, 4096, sharded);
    std::vector<ParameterSlice> slices;
    for (const GradientReducer::Slice& s : reducer.owned()) {
      slices.push_back({s.name, s.first, s.count, s.gradient});
    }
    AdamW optimizer = reducer.sharded() ? AdamW({}, parameters, slices) : AdamW({}, parameters);
    const at::NoGradGuard no_grad;
    if (from != nullptr) {
      optimizer.load_state(from->moments, from->applied);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        parameters[i].second.copy_(from->parameters[i].second);
      }
    }
    double norm = 0;
    for (int k = 0; k < steps; ++k) {
      reducer.zero();
      for (auto& [name, p] : parameters) {
        for (int q = 0; q < 4; ++q) {
          if (q * world / 4 == ranks.rank()) {
            p.mutable_grad().add_(
                quarter_gradient(p, static_cast<int>(optimizer.applied_steps()), q));
          }
        }
        reducer.mark_ready(p);
      }
      reducer.finish();
      norm = reducer.norm();
      optimizer.step(1e-3, 1.0);
      reducer.share_parameters();
    }
    NamedTensors state = optimizer.state(), moments;
    if (reducer.sharded()) {
      for (std::size_t kind = 0; kind < 2; ++kind) {
        std::vector<at::Tensor> mine;
        for (std::size_t i = kind; i < state.size(); i += 2) mine.push_back(state[i].second);
        for (const auto& [name, whole] : reducer.gather(mine)) {
          moments.emplace_back((kind == 0 ? "exp_avg." : "exp_avg_sq.") + name, whole.clone());
        }
      }
    } else {
      moments = state;
    }
    if (ranks.rank() == world - 1) result = {parameters, moments, optimizer.applied_steps(), norm};
  });
  return result;
}

void expect_equal(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    const auto found = std::find_if(b.begin(), b.end(),
                                    [&n = name](const auto& other) { return other.first == n; });
    ASSERT_NE(found, b.end()) << name;
    EXPECT_TRUE(at::equal(tensor, found->second)) << name;
  }
}

TEST(Zero1, EqualsTheWholeOptimizerBitForBit) {
  for (const int world : {1, 2, 3, 4}) {
    const Trained whole = train_on(world, false, 6), parts = train_on(world, true, 6);
    expect_equal(whole.parameters, parts.parameters);
    expect_equal(whole.moments, parts.moments);
    EXPECT_NEAR(parts.norm, whole.norm, 1e-12 * whole.norm) << world;
  }
  const Trained fresh = train_on(1, false, 0), trained = train_on(4, true, 6);
  EXPECT_FALSE(at::equal(fresh.parameters[0].second, trained.parameters[0].second));
}

TEST(Zero1, EachRankKeepsItsShareOfTheMomentsOnly) {
  run_in_process(4, [](Communicator& ranks) {
    const NamedTensors parameters = make_parameters();
    const GradientReducer reducer(parameters, ranks, 1 << 20, true);
    std::int64_t mine = 0, all = 0;
    for (const GradientReducer::Slice& slice : reducer.owned()) mine += slice.count;
    for (const auto& [name, p] : parameters) all += p.numel();
    EXPECT_EQ(ranks.all_reduce(mine, Reduce::sum), all);  // each element once
    EXPECT_LE(mine, all / 4 + 128 * 4);
  });
}

TEST(Zero1, MomentsMoveFromFourRanksToOneToThree) {
  const Trained uninterrupted = train_on(1, false, 9);
  const Trained four = train_on(4, true, 3);
  const Trained one = train_on(1, true, 3, &four);
  const Trained three = train_on(3, true, 3, &one);
  EXPECT_EQ(three.applied, 9);
  expect_equal(uninterrupted.parameters, three.parameters);
  expect_equal(uninterrupted.moments, three.moments);
}

}  // namespace
}  // namespace plumbline
