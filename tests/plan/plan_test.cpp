#include "plan/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "plan/print.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

PlanInput vit_b_32(int world) {
  PlanInput in;
  in.model.image = VitShape{.patch = 32};
  in.model.text = TextShape{};
  in.model.image_parameters = 87849216;
  in.model.text_parameters = 63428096;
  in.model.other_parameters = 1;
  in.device = find_gpu("h100", true);
  in.world = world;
  in.global_batch = 1024 * world;
  in.steps = 1000;
  in.bf16 = in.zero1 = true;
  in.sample_bytes = 30000;
  in.loader_bytes = 4e9;
  return in;
}

double part(const std::vector<PlanPart>& parts, const std::string& name) {
  for (const PlanPart& p : parts) {
    if (p.name == name) return p.amount;
  }
  return 0;
}

TEST(Plan, PartsAddUp) {
  const Plan plan = make_plan(vit_b_32(16));
  double seconds = 0, device = 0, host = 0;
  for (const PlanPart& p : plan.step) seconds += p.amount;
  for (const PlanPart& p : plan.memory) (p.where == "device" ? device : host) += p.amount;
  EXPECT_NEAR(seconds, plan.step_s, 1e-12);
  EXPECT_NEAR(device, plan.device_bytes, 1);
  EXPECT_NEAR(host, plan.host_bytes, 1);
  EXPECT_NEAR(plan.samples_per_s, 16 * 1024 / plan.step_s, 1e-6);
  EXPECT_NEAR(plan.device_hours, 16 * plan.hours, 1e-9);
}

TEST(Plan, ShardedMomentsAreDividedByTheRanks) {
  PlanInput in = vit_b_32(16);
  const double parameters = in.model.parameters();
  EXPECT_NEAR(part(make_plan(in).memory, "moments"), 8 * parameters / 16, 1);
  EXPECT_NEAR(part(make_plan(in).memory, "gradients, float32"), 4 * parameters, 1);
  in.zero1 = false;
  EXPECT_NEAR(part(make_plan(in).memory, "moments"), 8 * parameters, 1);
}

TEST(Plan, MicroBatchesTradeMemoryForAnotherForward) {
  PlanInput in = vit_b_32(1);
  const Plan whole = make_plan(in);
  in.micro_batch = 256;
  const Plan parts = make_plan(in);
  EXPECT_NEAR(part(parts.memory, "activations"), part(whole.memory, "activations") / 4, 1);
  EXPECT_NEAR(parts.executed_flops, whole.executed_flops * 4 / 3, 1);
  EXPECT_EQ(parts.standard_flops, whole.standard_flops);
  EXPECT_LT(parts.samples_per_s, whole.samples_per_s);
}

TEST(Plan, OneRankHasNoCommunicationAndIsItsOwnMeasure) {
  const Plan plan = make_plan(vit_b_32(1));
  EXPECT_EQ(plan.communication_s, 0);
  EXPECT_EQ(plan.efficiency, 1);
}

TEST(Plan, EfficiencyFallsWithRanksAndWithSlowNetworks) {
  double last = 1.1;
  for (const int world : {1, 8, 64, 1024}) {
    const double now = make_plan(vit_b_32(world)).efficiency;
    EXPECT_LT(now, last) << world;
    EXPECT_GT(now, 0.3) << world;
    last = now;
  }
  PlanInput slow = vit_b_32(64);
  slow.device.network_bytes_per_s = 1e9;
  EXPECT_LT(make_plan(slow).efficiency, make_plan(vit_b_32(64)).efficiency - 0.1);
}

TEST(Plan, WhatDoesNotOverlapIsExposed) {
  PlanInput in = vit_b_32(8);
  in.zero1 = false;
  const std::string name = "gradients and weights over ranks, exposed";
  const double hidden = part(make_plan(in).step, name);
  in.device.overlaps = false;
  EXPECT_GT(part(make_plan(in).step, name), 5 * hidden);
}

TEST(Plan, ABatchTooLargeForTheDeviceDoesNotFit) {
  PlanInput in = vit_b_32(1);
  EXPECT_TRUE(make_plan(in).fits);
  in.global_batch = 1 << 16;
  EXPECT_FALSE(make_plan(in).fits);
  in.micro_batch = 512;
  EXPECT_TRUE(make_plan(in).fits);
}

TEST(Plan, CostNeedsAPrice) {
  PlanInput in = vit_b_32(8);
  EXPECT_FALSE(make_plan(in).cost);
  in.price = 2.5;
  const Plan plan = make_plan(in);
  EXPECT_NEAR(*plan.cost, 2.5 * plan.device_hours, 1e-9);
}

TEST(Plan, CheckpointIntervalIsDalysAndNearYoungs) {
  // 2 s every 48 h: 14 minutes.
  EXPECT_NEAR(60 * checkpoint_interval(2.0 / 3600, 48), 13.9, 0.2);
  const double young = std::sqrt(2 * 1e-4 * 10.0);
  EXPECT_NEAR(checkpoint_interval(1e-4, 10) / young, 1, 0.01);
  EXPECT_EQ(checkpoint_interval(100, 10), 10);
}

/// Pairs/s a GPU of OpenCLIP's runs on A100s, four a node (LAION-AI/scaling-laws-openclip,
/// trained_models_info.csv at 529d370; arXiv:2212.07143).
TEST(Plan, PublishedRunsAreWithinAFactorOfTwo) {
  const VitShape b32{.patch = 32, .prune = false}, b16{.patch = 16, .prune = false};
  const VitShape l14{
      .patch = 14, .layers = 24, .width = 1024, .mlp = 4096, .embed_dim = 768, .prune = false};
  const TextShape small{.pack = false, .prune = false};
  const TextShape large{.width = 768, .mlp = 3072, .embed_dim = 768, .pack = false, .prune = false};
  struct Run {
    VitShape image;
    TextShape text;
    int gpus, rows;
    double samples_per_s;
  };
  const Run runs[] = {{b32, small, 128, 256, 108845}, {b32, small, 344, 256, 219759},
                      {b16, small, 344, 256, 136371}, {b16, small, 176, 512, 64314},
                      {l14, large, 200, 448, 35525},  {l14, large, 400, 224, 41970},
                      {l14, large, 768, 112, 60328},  {l14, large, 1024, 84, 79116}};
  for (const Run& run : runs) {
    PlanInput in = vit_b_32(run.gpus);
    in.device = find_gpu("a100", true);
    in.per_node = 4;
    in.zero1 = false;
    in.model.image = run.image;
    in.model.text = run.text;
    in.global_batch = run.gpus * run.rows;
    const double ratio = make_plan(in).samples_per_s / run.samples_per_s;
    EXPECT_GT(ratio, 0.5) << run.gpus << " GPUs of " << run.rows;
    EXPECT_LT(ratio, 2) << run.gpus << " GPUs of " << run.rows;
  }
}

TEST(Plan, AnUnknownDeviceIsAnError) { EXPECT_THROW((void)find_gpu("h900", true), UsageError); }

TEST(Plan, TheCurveKeepsTheBatchOrTheRows) {
  PlanInput in = vit_b_32(4);
  in.global_batch = 512;
  const std::vector<ScalingPoint> curve = scaling_curve(in);
  ASSERT_EQ(curve.size(), 11U);
  EXPECT_EQ(curve.back().world, 1024);
  EXPECT_FALSE(curve.back().fixed_possible);  // half of the ranks would have no row
  EXPECT_EQ(curve.back().growing.rank_batch, 128);
  EXPECT_EQ(curve[2].fixed.step_s, make_plan(in).step_s);
}

TEST(PlanDocument, JsonHoldsWhatTheTextSays) {
  PlanDocument document;
  document.config = "run.yaml";
  document.model = "ViT-B-32";
  document.input = vit_b_32(16);
  document.input.price = 2;
  document.plan = make_plan(document.input);
  document.sources = {{"cc3m", 10, 8, 8000, 240000000}};
  document.notes = {"2 of 10 shards have no index"};
  const auto json = nlohmann::json::parse(plan_json(document));
  EXPECT_EQ(json["parameters"]["all"], 151277313);
  EXPECT_EQ(json["modelled"], true);
  EXPECT_EQ(json["scaling"].size(), 11U);
  EXPECT_EQ(json["data"][0]["indexed"], 8);
  EXPECT_NEAR(json["flops"]["sample"].get<double>() / 1e9, 44.3, 0.1);
  const std::string text = plan_text(document);
  for (const char* word : {"151277313", "GPU hours", "modelled", "8 indexed", "note: 2 of 10"}) {
    EXPECT_NE(text.find(word), std::string::npos) << word << "\n" << text;
  }
}

}  // namespace
}  // namespace plumbline
