// Retrieval and linear probe with a model computed by hand, at several world sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "eval/linear_probe.h"
#include "ops/preprocess_image.h"
#include "plumbline/error.h"
#include "plumbline/eval.h"
#include "tests/eval/fake_model.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using test::ByteTokenizer;
using test::FakeModel;
using test::TempFolder;

constexpr int kSide = 6;
constexpr int kDim = 8;

class Kinds : public ::testing::Test {
 protected:
  void SetUp() override { torch::set_num_threads(1); }
  std::shared_ptr<FakeModel> make_model() {
    return std::make_shared<FakeModel>(kSide, tokenizer_.context_length(), kDim);
  }
  static PreprocessOptions preprocess() {
    PreprocessOptions p;
    p.height = p.width = kSide;
    return p;
  }
  EvalSetOptions options(const std::string& kind) {
    EvalSetOptions o;
    o.name = kind;
    o.kind = kind;
    o.layout = "webdataset";
    o.path = folder_ / kind;
    o.train = "train";
    o.where = "suite.yaml:1: 'sets.0' ";
    return o;
  }
  std::vector<SetResult> evaluate_at(int world, const EvalSetOptions& o, int batch = 3) {
    std::vector<SetResult> all(static_cast<std::size_t>(world));
    EvalSuite suite;
    suite.sets = {o};
    run_in_process(world, [&](Communicator& host) {
      const auto model = make_model();
      EvalContext c{*model, tokenizer_, preprocess(), host};
      c.threads = 1;
      c.batch = batch;
      all[static_cast<std::size_t>(host.rank())] = evaluate(suite, c).sets.at(0);
    });
    return all;
  }
  /// Unit rows, one image at a time.
  at::Tensor features_by_hand(const std::vector<ImageRef>& items) {
    const torch::NoGradGuard no_grad;
    const auto model = make_model();
    model->eval();
    std::vector<at::Tensor> rows;
    for (const ImageRef& item : items) {
      ImageDecoder decoder;
      Image image;
      ResizeScratch scratch;
      EXPECT_FALSE(decoder.decode(read_image_bytes(item), image).has_value());
      const at::Tensor pixels = torch::empty({1, kSide, kSide, 3}, torch::kByte);
      eval_transform(image, preprocess(), {pixels.data_ptr<std::uint8_t>(), kSide * kSide * 3},
                     scratch);
      rows.push_back(model->encode_image(preprocess_image(pixels, preprocess()), true)[0]);
    }
    return torch::stack(rows);
  }
  at::Tensor texts_by_hand(const std::vector<std::string>& texts) {
    const torch::NoGradGuard no_grad;
    const auto model = make_model();
    model->eval();
    std::vector<at::Tensor> rows;
    for (const std::string& text : texts) {
      const at::Tensor ids = torch::empty({1, tokenizer_.context_length()}, torch::kInt);
      (void)tokenizer_.encode(text, {ids.data_ptr<std::int32_t>(), 24});
      rows.push_back(model->encode_text(ids, true)[0]);
    }
    return torch::stack(rows);
  }

  TempFolder folder_;
  ByteTokenizer tokenizer_;
};

/// Captions of each image; two images share one, so that scores tie.
const std::vector<std::vector<std::string>> kCaptions = {{"a cat", "two cats\nasleep"},
                                                         {"a dog"},
                                                         {"bee", "a yellow bee", "an insect"},
                                                         {"a cat"},
                                                         {"cow"},
                                                         {"red square", "blue"},
                                                         {"nothing"},
                                                         {"it's"},
                                                         {"rain"},
                                                         {"snow, white"},
                                                         {"a door"},
                                                         {"x", "y", "z"}};

class Retrieval : public Kinds {
 protected:
  void SetUp() override {
    Kinds::SetUp();
    write(std::nullopt);
  }
  void write(std::optional<std::size_t> broken) {
    test::write_file(folder_ / "retrieval/dataset_type.txt", "retrieval\n");
    test::write_file(folder_ / "retrieval/test/nshards.txt", "2\n");
    std::vector<test::TarMember> shard[2];
    for (std::size_t i = 0; i < kCaptions.size(); ++i) {
      std::string text;
      for (std::string caption : kCaptions[i]) {
        const auto at = caption.find('\n');
        if (at != std::string::npos) caption.replace(at, 1, "\\n");
        text += (text.empty() ? "" : "\n") + caption;
      }
      const std::string key = str("s", 1000 + i);
      const bool bad = broken == i;
      shard[i / 7].push_back({key + ".png", bad ? "no image" : test::make_png(8, 9, i)});
      shard[i / 7].push_back({key + ".txt", text});
    }
    test::write_tar(folder_ / "retrieval/test/0.tar", shard[0]);
    test::write_tar(folder_ / "retrieval/test/1.tar", shard[1]);
  }
};

/// Places by sorting whole rows, from definitions alone.
struct Places {
  std::vector<std::int64_t> image, text, image_of_text;
};
Places places_by_hand(const at::Tensor& images_ND, const at::Tensor& texts_TD,
                      const std::vector<std::vector<std::string>>& captions) {
  Places places;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    for (std::size_t k = 0; k < captions[i].size(); ++k) {
      places.image_of_text.push_back(static_cast<std::int64_t>(i));
    }
  }
  const at::Tensor scores_TN = texts_TD.matmul(images_ND.t());
  const auto order_of = [](const at::Tensor& row) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(row.size(0)));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return row[a].item<float>() > row[b].item<float>();
    });
    return order;
  };
  for (std::int64_t t = 0; t < scores_TN.size(0); ++t) {
    const auto order = order_of(scores_TN[t]);
    const auto image = places.image_of_text[static_cast<std::size_t>(t)];
    places.image.push_back(std::find(order.begin(), order.end(), image) - order.begin());
  }
  for (std::int64_t i = 0; i < scores_TN.size(1); ++i) {
    const auto order = order_of(scores_TN.t()[i]);
    places.text.push_back(std::find_if(order.begin(), order.end(),
                                       [&](std::int64_t t) {
                                         return places.image_of_text[static_cast<std::size_t>(t)] ==
                                                i;
                                       }) -
                          order.begin());
  }
  return places;
}

std::vector<std::string> flat(const std::vector<std::vector<std::string>>& captions) {
  std::vector<std::string> all;
  for (const auto& some : captions) all.insert(all.end(), some.begin(), some.end());
  return all;
}

TEST_F(Retrieval, EveryPlaceEqualsBruteForceAtEveryWorldSize) {
  const EvalSet set = open_eval_set(options("retrieval"), "", "");
  EXPECT_EQ(set.captions, kCaptions);
  const Places expected =
      places_by_hand(features_by_hand(set.items), texts_by_hand(flat(kCaptions)), kCaptions);
  for (const int world : {1, 2, 3, 16}) {
    for (const SetResult& r : evaluate_at(world, options("retrieval"))) {
      EXPECT_EQ(r.n, 12);
      EXPECT_EQ(r.skipped, 0);
      EXPECT_FALSE(r.top1.has_value());
      ASSERT_TRUE(r.retrieval.has_value());
      EXPECT_EQ(r.retrieval->image_of_text, expected.image_of_text);
      EXPECT_EQ(r.retrieval->image_place, expected.image) << world;
      EXPECT_EQ(r.retrieval->text_place, expected.text) << world;
      const auto within = [](const std::vector<std::int64_t>& places, std::int64_t k) {
        return static_cast<double>(std::count_if(places.begin(), places.end(),
                                                 [&](std::int64_t p) { return p < k; })) /
               static_cast<double>(places.size());
      };
      for (std::size_t i = 0; i < kRecallAt.size(); ++i) {
        EXPECT_DOUBLE_EQ(*r.retrieval->image_recall[i], within(expected.image, kRecallAt[i]));
        EXPECT_DOUBLE_EQ(*r.retrieval->text_recall[i], within(expected.text, kRecallAt[i]));
      }
    }
  }
}

TEST_F(Retrieval, AnUndecodableImageTakesItsCaptionsAlong) {
  write(2);  // three captions
  auto captions = kCaptions;
  captions.erase(captions.begin() + 2);
  EvalSet set = open_eval_set(options("retrieval"), "", "");
  set.items.erase(set.items.begin() + 2);
  const Places expected =
      places_by_hand(features_by_hand(set.items), texts_by_hand(flat(captions)), captions);
  for (const int world : {1, 2, 3}) {
    const SetResult r = evaluate_at(world, options("retrieval"))[0];
    EXPECT_EQ(r.n, 11);
    EXPECT_EQ(r.skipped, 1);
    EXPECT_EQ(r.retrieval->image_place, expected.image) << world;
    EXPECT_EQ(r.retrieval->text_place, expected.text) << world;
    EXPECT_EQ(r.retrieval->image_keys[2], "s1003");
  }
}

TEST_F(Retrieval, ASampleWithoutCaptionAndAWrongTypeAreRefused) {
  test::write_tar(folder_ / "retrieval/test/1.tar",
                  {{"a.png", test::make_png(3, 3, 1)}, {"a.txt", " \n\n"}});
  try {
    (void)open_eval_set(options("retrieval"), "", "");
    FAIL() << "accepted";
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("sample 'a' has no caption"), std::string::npos);
  }
  test::write_file(folder_ / "retrieval/dataset_type.txt", "classification");
  EXPECT_THROW((void)open_eval_set(options("retrieval"), "", ""), UsageError);
}

class Probe : public Kinds {
 protected:
  void SetUp() override {
    Kinds::SetUp();
    const std::vector<std::string> names = {"a", "b", "c"};
    const std::filesystem::path set = folder_ / "linear_probe";
    // The fixture writes the split test; the others are made first and moved away.
    for (const std::string split : {"train", "val", "test"}) {
      std::vector<int> labels;
      for (int i = 0; i < (split == "train" ? 30 : 11); ++i) labels.push_back(i * i % 3);
      labels.insert(labels.end(), {2, 2});
      test::write_webdataset(set, names, labels, 2);
      if (split != "test") std::filesystem::rename(set / "test", set / split);
    }
  }
};

TEST_F(Probe, SameAtEveryWorldSize) {
  EvalSetOptions o = options("linear_probe");
  const SetResult alone = evaluate_at(1, o)[0];
  EXPECT_EQ(alone.n, 13);
  EXPECT_EQ(alone.probe->train_n, 32);
  EXPECT_EQ(alone.probe->validation_n, 0);
  EXPECT_EQ(alone.probe->weight_decay, 0);
  for (const int world : {2, 3}) {
    for (const SetResult& r : evaluate_at(world, o)) {
      EXPECT_EQ(r.n, 13);
      EXPECT_EQ(*r.top1, *alone.top1);
      for (std::size_t i = 0; i < 13; ++i) {
        EXPECT_EQ(r.predictions[i].ranked, alone.predictions[i].ranked) << world << " " << i;
      }
    }
  }
  o.validation = "val";
  const SetResult swept = evaluate_at(2, o)[1];
  EXPECT_EQ(swept.probe->validation_n, 13);
  EXPECT_GT(swept.probe->weight_decay, 0);
}

TEST_F(Probe, ShotsAreTheSameKeysWhateverElseIsThere) {
  EvalSetOptions o = options("linear_probe");
  o.shots = 2;
  const EvalSet two = open_eval_set(o, "", "");
  EXPECT_EQ(two.train.items.size(), 6U);
  for (std::int32_t c = 0; c < 3; ++c) {
    EXPECT_EQ(std::count(two.train.targets.begin(), two.train.targets.end(), c), 2);
  }
  o.shots = 1;
  const EvalSet one = open_eval_set(o, "", "");
  for (const ImageRef& item : one.train.items) {
    EXPECT_TRUE(std::any_of(two.train.items.begin(), two.train.items.end(),
                            [&](const ImageRef& other) { return other.key == item.key; }))
        << item.key << " is not among the two";
  }
  o.shots = 3;  // class 2 has only two images
  try {
    (void)open_eval_set(o, "", "");
    FAIL() << "accepted";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("'c' has 2 images"), std::string::npos) << e.what();
  }
}

TEST(FitProbe, EqualsAdamWByHand) {
  torch::manual_seed(4);
  const ProbeData data{torch::randn({5, 3}), torch::tensor({0, 1, 1, 2, 0}, torch::kLong)};
  const double decay = 0.03;
  const LinearProbe probe = fit_probe(data, 3, decay);
  // One batch an epoch: the order of rows does not matter but for rounding.
  const torch::NoGradGuard no_grad;
  const at::Tensor x = torch::cat({data.features_ND, torch::ones({5, 1})}, 1).to(torch::kDouble);
  const at::Tensor y = torch::one_hot(data.targets_N, 3).to(torch::kDouble);
  at::Tensor w = torch::zeros({3, 4}, torch::kDouble), m = w.clone(), v = w.clone();
  for (int t = 0; t < 10; ++t) {
    const double lr = 0.05 * (1 + std::cos(M_PI * t / 10));
    const at::Tensor g = (torch::softmax(x.matmul(w.t()), 1) - y).t().matmul(x) / 5;
    w = w * (1 - lr * decay);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    w = w -
        lr * (m / (1 - std::pow(0.9, t + 1))) / ((v / (1 - std::pow(0.999, t + 1))).sqrt() + 1e-8);
  }
  const at::Tensor fitted = torch::cat({probe.weight_CD, probe.bias_C.unsqueeze(1)}, 1);
  EXPECT_TRUE(torch::allclose(fitted.to(torch::kDouble), w, 1e-4, 1e-5)) << fitted << w;
}

TEST(FitProbe, SeparatesWhatALineCan) {
  torch::manual_seed(5);
  const at::Tensor targets = torch::arange(300, torch::kLong).remainder(3);
  at::Tensor features = torch::one_hot(targets, 3).to(torch::kFloat);
  features = torch::nn::functional::normalize(features + 0.1 * torch::randn({300, 3}));
  const ProbeData data{features, targets};
  EXPECT_EQ(probe_accuracy(fit_probe(data, 3, 0), data), 1);
  // And not by chance: learned from the opposite features it is wrong.
  EXPECT_LT(probe_accuracy(fit_probe({-features, targets}, 3, 0), data), 0.5);
}

TEST(FindPeak, FindsTheTopOfAHillWithFewLooks) {
  for (const int top : {0, 1, 7, 50, 95, 96}) {
    std::vector<int> asked;
    const int found = find_peak([&](int i) {
      asked.push_back(i);
      return -std::abs(i - top);
    });
    EXPECT_EQ(found, top);
    EXPECT_LE(asked.size(), 15U);
    EXPECT_EQ(std::set<int>(asked.begin(), asked.end()).size(), asked.size());
  }
  EXPECT_EQ(find_peak([](int) { return 0.5; }), 0);
  EXPECT_NEAR(weight_decay_at(0), 1e-6, 1e-18);
  EXPECT_NEAR(weight_decay_at(96), 100, 1e-10);
}

}  // namespace
}  // namespace plumbline
