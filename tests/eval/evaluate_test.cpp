// Zero-shot evaluation with a model computed by hand, at several world sizes.
#include "plumbline/eval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "ops/preprocess_image.h"
#include "plumbline/error.h"
#include "tests/eval/fake_model.h"
#include "tests/eval/fixture.h"

namespace plumbline {
namespace {

using test::ByteTokenizer;
using test::FakeModel;
using test::TempFolder;

constexpr int kSide = 6;

class Evaluate : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::set_num_threads(1);
    test::write_webdataset(folder_ / "w", names_, labels_, 2);
    suite_.sets.push_back(options("w"));
    suite_.templates = "own";
  }
  EvalSetOptions options(const std::string& path) {
    EvalSetOptions o;
    o.name = path;
    o.layout = "webdataset";
    o.path = folder_ / path;
    return o;
  }
  std::shared_ptr<FakeModel> make_model() {
    return std::make_shared<FakeModel>(kSide, tokenizer_.context_length(), 16);
  }
  EvalContext context(ClipModel& model, Communicator& host) {
    EvalContext c{model, tokenizer_, preprocess(), host};
    c.threads = 2;
    c.batch = 4;
    return c;
  }
  static PreprocessOptions preprocess() {
    PreprocessOptions p;
    p.height = p.width = kSide;
    return p;
  }
  /// The results of every rank, each with a model of its own.
  std::vector<EvalResults> evaluate_at(int world, int batch = 4) {
    std::vector<EvalResults> all(static_cast<std::size_t>(world));
    run_in_process(world, [&](Communicator& host) {
      const auto model = make_model();
      EvalContext c = context(*model, host);
      c.batch = batch;
      all[static_cast<std::size_t>(host.rank())] = evaluate(suite_, c);
    });
    return all;
  }
  /// Code and words of what every rank throws at this world size.
  std::string failure(int world, const std::function<void(EvalContext&)>& change = {}) {
    std::mutex mutex;
    std::vector<std::string> texts;
    run_in_process(world, [&](Communicator& host) {
      const auto model = make_model();
      EvalContext c = context(*model, host);
      if (change) change(c);
      std::string text = "no error";
      try {
        (void)evaluate(suite_, c);
      } catch (const Error& e) {
        text = str(static_cast<int>(e.code()), " ", e.what());
      }
      const std::lock_guard lock(mutex);
      texts.push_back(text);
    });
    for (const std::string& text : texts) EXPECT_EQ(text, texts[0]);
    return texts[0];
  }

  TempFolder folder_;
  std::vector<std::string> names_ = {"cat", "dog", "cow", "cat", "bee", "ant"};
  std::vector<int> labels_ = {0, 1, 2, 4, 5, 5, 1, 2, 2, 0, 4};
  EvalSuite suite_;
  ByteTokenizer tokenizer_;
};

/// Row c: normalise(mean of normalise(text features)), one text at a time.
at::Tensor weights_by_hand(const EvalSet& set, FakeModel& model, const Tokenizer& tokenizer) {
  std::vector<at::Tensor> rows;
  for (const auto& prompts : set.prompts) {
    at::Tensor sum = torch::zeros({model.options().embed_dim});
    for (const std::string& text : prompts) {
      const at::Tensor ids = torch::empty({1, tokenizer.context_length()}, torch::kInt);
      (void)tokenizer.encode(text, {ids.data_ptr<std::int32_t>(), 24});
      const at::Tensor u = model.encode_text(ids, false)[0];
      sum = sum + u / u.norm();
    }
    const at::Tensor mean = sum / static_cast<double>(prompts.size());
    rows.push_back(mean / mean.norm());
  }
  return torch::stack(rows);
}

at::Tensor pixels_of(const ImageRef& item, const PreprocessOptions& preprocess) {
  ImageDecoder decoder;
  Image image;
  ResizeScratch scratch;
  const auto bytes = read_image_bytes(item);
  EXPECT_FALSE(decoder.decode(bytes, image).has_value());
  const at::Tensor out = torch::empty({1, kSide, kSide, 3}, torch::kByte);
  eval_transform(image, preprocess, {out.data_ptr<std::uint8_t>(), kSide * kSide * 3}, scratch);
  return preprocess_image(out, preprocess);
}

TEST_F(Evaluate, EveryPredictionEqualsBruteForceAtEveryWorldSize) {
  const torch::NoGradGuard no_grad;
  const auto model = make_model();
  model->eval();
  const EvalSet set = open_eval_set(suite_.sets[0], "own", "");
  const at::Tensor weights = weights_by_hand(set, *model, tokenizer_);
  std::vector<Score> scores;
  std::int64_t right = 0;
  for (std::size_t i = 0; i < set.items.size(); ++i) {
    const at::Tensor f = model->encode_image(pixels_of(set.items[i], preprocess()), false)[0];
    const at::Tensor logits = 100 * weights.mv(f / f.norm());
    std::vector<float> values(logits.data_ptr<float>(), logits.data_ptr<float>() + 6);
    // Classes 0 and 3 have the same name, hence equal rows: the tie goes to 0.
    EXPECT_EQ(values[0], values[3]);
    scores.push_back(rank_classes(values, {}, 6));
    right += scores.back().ranked[0] == set.targets[i] ? 1 : 0;
  }
  for (const int world : {1, 2, 3, 16}) {
    const std::vector<EvalResults> all = evaluate_at(world);
    for (const EvalResults& results : all) {
      ASSERT_EQ(results.sets.size(), 1U);
      const SetResult& r = results.sets[0];
      EXPECT_EQ(r.n, 11) << world;
      EXPECT_EQ(r.skipped, 0);
      EXPECT_DOUBLE_EQ(*r.top1, static_cast<double>(right) / 11);
      ASSERT_EQ(r.predictions.size(), 11U);
      for (std::size_t i = 0; i < 11; ++i) {
        EXPECT_EQ(r.predictions[i].key, set.items[i].key);
        EXPECT_EQ(r.predictions[i].ranked, scores[i].ranked) << world << " " << i;
      }
    }
  }
}

TEST_F(Evaluate, AClassifierIsScoredByItsOwnHeadClassesByName) {
  const torch::NoGradGuard no_grad;
  suite_.sets.clear();
  test::write_webdataset(folder_ / "few", {"dog", "cat"}, {0, 1, 1, 0, 1}, 1);
  suite_.sets.push_back(options("few"));
  const auto host = make_single_communicator();
  const auto model = make_model();
  model->classify({"cat", "bee", "dog"});
  EvalContext c = context(*model, *host);
  const EvalResults results = evaluate(suite_, c);
  EXPECT_EQ(results.kind, "supervised");
  EXPECT_EQ(results.sets[0].templates, "");
  EXPECT_EQ(model->texts_seen, 0);
  model->eval();
  const EvalSet set = open_eval_set(suite_.sets[0], "own", "");
  for (std::size_t i = 0; i < set.items.size(); ++i) {
    const at::Tensor f = model->encode_image(pixels_of(set.items[i], preprocess()), true);
    const at::Tensor logits = model->class_logits(f)[0];
    const bool dog = logits[2].item<float>() >= logits[0].item<float>();
    EXPECT_EQ(results.sets[0].predictions[i].ranked[0], dog ? 0 : 1) << i;
  }
  model->classify({"cat", "bee"});
  try {
    (void)evaluate(suite_, c);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    EXPECT_NE(std::string(e.what()).find("no class 'dog'"), std::string::npos) << e.what();
  }
}

TEST_F(Evaluate, BatchSizesDoNotMatter) {
  const EvalResults four = evaluate_at(1, 4)[0];
  for (const int batch : {1, 11, 500}) {
    const EvalResults other = evaluate_at(1, batch)[0];
    for (std::size_t i = 0; i < 11; ++i) {
      EXPECT_EQ(other.sets[0].predictions[i].ranked, four.sets[0].predictions[i].ranked);
    }
  }
}

TEST_F(Evaluate, LeavesTheModelAndTheGeneratorAsTheyWere) {
  const auto model = make_model();
  model->train();
  model->norm_->eval();  // as in a locked tower
  const NamedTensors before = [&] {
    NamedTensors copy;
    for (const auto& item : model->named_parameters())
      copy.emplace_back(item.key(), item.value().clone());
    for (const auto& item : model->named_buffers())
      copy.emplace_back(item.key(), item.value().clone());
    return copy;
  }();
  torch::manual_seed(3);
  const at::Tensor expected_draw = torch::rand({4});
  torch::manual_seed(3);
  const auto host = make_single_communicator();
  EvalContext c = context(*model, *host);
  const EvalResults first = evaluate(suite_, c);
  EXPECT_TRUE(torch::equal(torch::rand({4}), expected_draw));
  EXPECT_TRUE(model->is_training());
  EXPECT_TRUE(model->dropout_->is_training());
  EXPECT_FALSE(model->norm_->is_training());
  std::size_t i = 0;
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), before[i++].second)) << item.key();
    EXPECT_FALSE(item.value().grad().defined());
  }
  for (const auto& item : model->named_buffers()) {
    EXPECT_TRUE(torch::equal(item.value(), before[i++].second)) << item.key();
  }
  model->norm_->train();
  const EvalResults second = evaluate(suite_, c);
  EXPECT_EQ(*first.sets[0].top1, *second.sets[0].top1);
  EXPECT_EQ(first.sets[0].predictions[3].ranked, second.sets[0].predictions[3].ranked);
}

TEST_F(Evaluate, OneImageMayBeUndecodableTwoMayNot) {
  const std::vector<test::TarMember> good = {{"a.png", test::make_png(5, 5, 1)},
                                             {"a.cls", "0"},
                                             {"c.png", test::make_png(5, 5, 2)},
                                             {"c.cls", "1"}};
  std::vector<test::TarMember> members = good;
  members.insert(members.begin() + 2, {{"b.png", "no image"}, {"b.cls", "5"}});
  test::write_file(folder_ / "w/test/nshards.txt", "1");
  test::write_tar(folder_ / "w/test/0.tar", members);
  for (const int world : {1, 2, 3}) {
    const EvalResults results = evaluate_at(world)[0];
    EXPECT_EQ(results.sets[0].n, 2);
    EXPECT_EQ(results.sets[0].skipped, 1);
    EXPECT_EQ(results.sets[0].predictions[1].key, "c");
    EXPECT_EQ(results.sets[0].class_n[5], 0);
  }
  members.insert(members.end(), {{"d.png", "none either"}, {"d.cls", "5"}});
  test::write_tar(folder_ / "w/test/0.tar", members);
  for (const int world : {1, 2, 3}) {
    const std::string text = failure(world);
    EXPECT_EQ(text.substr(0, 3), "65 ") << text;
    EXPECT_NE(text.find("2 of 4 images"), std::string::npos) << text;
    EXPECT_NE(text.find("'b': "), std::string::npos) << text;
  }
}

TEST_F(Evaluate, ClassesPresentAndOneClass) {
  test::write_webdataset(folder_ / "one", {"cat", "dog"}, {1, 1, 1}, 1);
  suite_.sets = {options("one")};
  suite_.sets[0].classes = "present";
  const SetResult r = evaluate_at(2)[1].sets[0];
  EXPECT_EQ(r.class_names, std::vector<std::string>{"dog"});
  EXPECT_EQ(*r.top1, 1);
  EXPECT_FALSE(r.top5.has_value());
  EXPECT_EQ(r.ci95->hi, 1);
  EXPECT_NEAR(r.ci95->lo, std::pow(0.025, 1 / 3.0), 1e-12);
}

TEST_F(Evaluate, ErrorsReachEveryRank) {
  suite_.sets.push_back(options("missing"));
  for (const int world : {1, 3}) {
    EXPECT_EQ(failure(world).substr(0, 2), "2 ");
  }
  suite_.sets.pop_back();
  // Only the last rank is told to stop.
  const std::string stopped =
      failure(3, [](EvalContext& c) { c.stop = [rank = c.host.rank()] { return rank == 2; }; });
  EXPECT_EQ(stopped.substr(0, 3), "75 ") << stopped;
  const std::string broken = failure(2, [](EvalContext& c) {
    const torch::NoGradGuard no_grad;
    if (c.host.rank() == 1) c.model.parameters()[0].fill_(std::nanf(""));
  });
  EXPECT_NE(broken.find("'s0000005' is not finite"), std::string::npos) << broken;
}

TEST_F(Evaluate, TextsAreEncodedOnceForSetsThatShareThem) {
  suite_.sets.push_back(suite_.sets[0]);
  suite_.sets.back().name = "again";
  const auto model = make_model();
  const auto host = make_single_communicator();
  EvalContext c = context(*model, *host);
  std::vector<std::string> progress;
  c.progress = [&](const std::string& set, std::int64_t done, std::int64_t total) {
    progress.push_back(str(set, " ", done, "/", total));
  };
  const EvalResults results = evaluate(suite_, c);
  EXPECT_EQ(model->texts_seen, 5 * 2);  // five different names, two templates
  EXPECT_EQ(model->largest_batch, 4);
  EXPECT_EQ(*results.sets[0].top1, *results.sets[1].top1);
  EXPECT_EQ(progress, (std::vector<std::string>{"w 4/11", "w 8/11", "w 11/11", "again 4/11",
                                                "again 8/11", "again 11/11"}));
}

TEST_F(Evaluate, ZeroShotWeightsByDefinition) {
  const EvalSet set = open_eval_set(suite_.sets[0], "own", "");
  const auto model = make_model();
  model->eval();
  const at::Tensor expected = weights_by_hand(set, *model, tokenizer_);
  at::Tensor alone;
  for (const int world : {1, 2, 5}) {
    run_in_process(world, [&](Communicator& host) {
      const auto own = make_model();
      EvalContext c = context(*own, host);
      const at::Tensor weights = zero_shot_weights(set.prompts, c);
      EXPECT_TRUE(torch::allclose(weights, expected, 0, 1e-6));
      if (world == 1) alone = weights;
      EXPECT_TRUE(torch::equal(weights, alone)) << world;
    });
  }
}

TEST_F(Evaluate, EmbedsImagesAndTexts) {
  const auto model = make_model();
  const auto host = make_single_communicator();
  EvalContext c = context(*model, *host);
  test::write_file(folder_ / "good.png", test::make_png(7, 9, 4));
  test::write_file(folder_ / "bad.png", "no image");
  test::write_file(folder_ / "list.txt",
                   str(folder_ / "good.png", "\n", folder_ / "bad.png", "\n"));
  const ImageFeatures images = embed_images(list_images(folder_ / "list.txt"), c);
  EXPECT_EQ(images.keys, std::vector<std::string>{folder_ / "good.png"});
  ASSERT_EQ(images.refused.size(), 1U);
  EXPECT_EQ(images.refused[0].find(folder_ / "bad.png: "), 0U);
  EXPECT_EQ(images.features_ND.sizes(), (std::vector<std::int64_t>{1, 16}));
  EXPECT_NEAR(images.features_ND.norm().item<double>(), 1, 1e-6);
  const ImageFeatures shards = embed_images(list_images(folder_ / "w/test/{0..1}.tar"), c);
  EXPECT_EQ(shards.features_ND.size(0), 11);
  EXPECT_EQ(shards.keys[10], "s0000010");
  const at::Tensor texts = embed_texts({"a", "bc", "", "d", "e", "f"}, c);
  EXPECT_EQ(texts.sizes(), (std::vector<std::int64_t>{6, 16}));
  EXPECT_THROW((void)embed_texts({"\xff"}, c), DataError);
  EXPECT_THROW((void)embed_texts({}, c), DataError);
}

TEST_F(Evaluate, EmbeddingIsTheSameAtEveryWorldSize) {
  test::write_file(folder_ / "bad.png", "no image");
  std::string list;
  for (int i = 0; i < 9; ++i) {
    test::write_file(folder_ / str(i, ".png"), test::make_png(7, 9, static_cast<unsigned>(i)));
    list += str(folder_ / str(i, ".png"), "\n");
    if (i == 3 || i == 7) list += str(folder_ / "bad.png", "\n");
  }
  test::write_file(folder_ / "list.txt", list);
  const auto images = list_images(folder_ / "list.txt");
  ImageFeatures alone;
  for (const int world : {1, 2, 3, 20}) {
    std::mutex mutex;
    run_in_process(world, [&](Communicator& host) {
      const auto model = make_model();
      EvalContext c = context(*model, host);
      const ImageFeatures features = embed_images(images, c);
      const std::lock_guard lock(mutex);
      if (world == 1) alone = features;
      EXPECT_TRUE(torch::equal(features.features_ND, alone.features_ND)) << world;
      EXPECT_EQ(features.keys, alone.keys) << world;
      EXPECT_EQ(features.refused, alone.refused) << world;
    });
  }
  EXPECT_EQ(alone.keys.size(), 9U);
  EXPECT_EQ(alone.keys[8], folder_ / "8.png");
  EXPECT_EQ(alone.refused.size(), 2U);
}

}  // namespace
}  // namespace plumbline
