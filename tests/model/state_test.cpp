// Loading state dicts and reading safetensors files: what fits, what is adapted, what is refused.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <map>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/model.h"
#include "tests/model/fill.h"

namespace plumbline {
namespace {

NamedTensors copy_of(const ClipModel& model) {
  NamedTensors copy;
  for (const auto& [name, tensor] : model.state_dict()) copy.emplace_back(name, tensor.clone());
  return copy;
}

bool same(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].first != b[i].first || !a[i].second.equal(b[i].second)) return false;
  }
  return true;
}

at::Tensor& at_name(NamedTensors& tensors, const std::string& name) {
  for (auto& item : tensors) {
    if (item.first == name) return item.second;
  }
  throw InternalError("no tensor " + name);
}

template <typename E, typename F>
std::string message_of(const F& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return "";
}

TEST(LoadStateDict, TakesPrefixesAndOtherFloatTypes) {
  const auto model = make_model(read_model("tiny-rn"), 1);
  const auto other = make_model(read_model("tiny-rn"), 2);
  NamedTensors wrapped;
  for (const auto& [name, tensor] : copy_of(*model)) {
    const bool floating = tensor.is_floating_point();
    wrapped.emplace_back("module." + name, floating ? tensor.to(at::kDouble) : tensor);
  }
  wrapped.emplace_back("context_length", at::scalar_tensor(77));
  wrapped.emplace_back("visual.position_ids", at::arange(3));
  EXPECT_TRUE(load_state_dict(*other, wrapped, "file").empty());
  EXPECT_TRUE(same(copy_of(*model), copy_of(*other)));
}

TEST(LoadStateDict, ListsEveryDifferenceAndChangesNothing) {
  const auto model = make_model(read_model("tiny-vit"), 1);
  const NamedTensors before = copy_of(*model);
  NamedTensors bad = copy_of(*make_model(read_model("tiny-vit"), 2));
  at_name(bad, "visual.proj") = at::zeros({64, 31});
  at_name(bad, "positional_embedding") = at::zeros({16, 63});
  std::erase_if(bad, [](const auto& t) { return t.first == "ln_final.bias"; });
  bad.emplace_back("visual.extra", at::zeros({2}));
  const std::string what =
      message_of<UsageError>([&] { (void)load_state_dict(*model, bad, "x.safetensors"); });
  for (const char* part :
       {"x.safetensors does not fit the model tiny-vit", "1 missing", "ln_final.bias [64]",
        "1 unexpected", "visual.extra [2]", "2 of another shape", "visual.proj [64, 31], [64, 32]",
        "positional_embedding [16, 63], [16, 64]"}) {
    EXPECT_NE(what.find(part), std::string::npos) << part << " in " << what;
  }
  EXPECT_TRUE(same(before, copy_of(*model)));
}

TEST(LoadStateDict, RefusesValuesThatAreNotFinite) {
  const auto model = make_model(read_model("tiny-vit"), 1);
  const NamedTensors before = copy_of(*model);
  NamedTensors bad = copy_of(*make_model(read_model("tiny-vit"), 2));
  at_name(bad, "visual.ln_post.bias")[5] = std::numeric_limits<float>::infinity();
  const std::string what = message_of<DataError>([&] { (void)load_state_dict(*model, bad, "x"); });
  EXPECT_NE(what.find("'visual.ln_post.bias' are not finite, the first at element 5"),
            std::string::npos)
      << what;
  EXPECT_TRUE(same(before, copy_of(*model)));
}

TEST(LoadStateDict, AddsTheTextPrefixAndAMissingBias) {
  ModelOptions options = read_model("tiny-vit");
  const auto plain = make_model(options, 1);
  options.custom_text = true;
  options.init_logit_bias = -10;
  options.nonscalar_logit_scale = true;
  const auto custom = make_model(options, 2);
  EXPECT_EQ(load_state_dict(*custom, copy_of(*plain), "file").size(), 2U);
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : custom->state_dict()) state[name] = tensor;
  EXPECT_EQ(state.at("logit_bias").item<float>(), 0);
  EXPECT_EQ(state.at("logit_scale").dim(), 1);
  for (const auto& [name, tensor] : plain->state_dict()) {
    if (!name.starts_with("transformer")) continue;
    EXPECT_TRUE(state.at("text." + name).equal(tensor)) << name;
  }
}

/// The resize in its own words: weights of the cubic with a = -0.5, stretched when shrinking,
/// normalised over the taps inside.
at::Tensor resize_rows(const at::Tensor& from_nw, std::int64_t m) {
  const auto cubic = [](double x) {
    x = std::abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0.0;
  };
  const auto n = from_nw.size(0);
  const double scale = static_cast<double>(n) / static_cast<double>(m);
  const double stretch = std::max(scale, 1.0);
  at::Tensor matrix = at::zeros({m, n}, at::kDouble);
  for (std::int64_t i = 0; i < m; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    for (std::int64_t j = 0; j < n; ++j) {
      matrix[i][j] = cubic((static_cast<double>(j) + 0.5 - centre) / stretch);
    }
  }
  return at::mm(matrix / matrix.sum(1, true), from_nw);
}

TEST(LoadStateDict, ResizesPositionalEmbeddings) {
  ModelOptions options = read_model("tiny-vit");
  const auto small = make_model(options, 1);
  for (const auto& [side, length] : {std::pair{48, 24}, std::pair{24, 9}}) {
    options.vision.image_height = side;
    options.vision.image_width = 40;
    options.text.context_length = length;
    const auto other = make_model(options, 2);
    other->to(torch::kDouble);
    NamedTensors given = copy_of(*small);
    for (auto& item : given) item.second = item.second.to(at::kDouble);
    EXPECT_EQ(load_state_dict(*other, given, "file").size(), 2U);
    NamedTensors state = copy_of(*other);
    const at::Tensor from = at_name(given, "visual.positional_embedding");
    const at::Tensor to = at_name(state, "visual.positional_embedding");
    EXPECT_TRUE(to[0].equal(from[0]));
    const at::Tensor down = resize_rows(from.narrow(0, 1, 16).reshape({4, 4 * 64}), side / 8);
    const at::Tensor want =
        resize_rows(down.view({side / 8, 4, 64}).transpose(0, 1).reshape({4, -1}), 5)
            .view({5, side / 8, 64})
            .transpose(0, 1)
            .reshape({-1, 64});
    EXPECT_LT((to.narrow(0, 1, want.size(0)) - want).abs().max().item<double>(), 1e-13);
    const at::Tensor text_from = at_name(given, "positional_embedding");
    const at::Tensor text = at_name(state, "positional_embedding");
    for (int i = 0; i < length; ++i) {
      const double source = std::max((i + 0.5) * 16 / length - 0.5, 0.0);
      const auto low = static_cast<std::int64_t>(source);
      const std::int64_t high = std::min<std::int64_t>(low + 1, 15);
      const double t = source - static_cast<double>(low);
      const at::Tensor expected = (1 - t) * text_from[low] + t * text_from[high];
      EXPECT_LT((text[i] - expected).abs().max().item<double>(), 1e-13) << i;
    }
  }
}

// safetensors.

NamedTensors every_type() {
  return {{"f32", at::arange(6).to(at::kFloat).view({2, 3})},
          {"count", at::scalar_tensor(7, at::kLong)},
          {"f64", at::arange(3).to(at::kDouble)},
          {"bf16", at::arange(5).to(at::kBFloat16)},
          {"f16", at::arange(3).to(at::kHalf)},
          {"i32", at::arange(4).to(at::kInt)},
          {"u8", at::arange(3).to(at::kByte)},
          {"empty", at::zeros({0, 4})}};
}

std::string temporary_file() { return write_temporary("file.safetensors", ""); }

TEST(Safetensors, RoundTripKeepsOrderTypesAndMetadata) {
  const std::string path = temporary_file();
  write_safetensors(path, {every_type(), {{"step", "12"}, {"quote\"", "line\n"}}});
  const TensorFile file = read_safetensors(path);
  EXPECT_TRUE(same(file.tensors, every_type()));
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    EXPECT_EQ(file.tensors[i].second.scalar_type(), every_type()[i].second.scalar_type());
  }
  const std::map<std::string, std::string> metadata(file.metadata.begin(), file.metadata.end());
  const std::map<std::string, std::string> expected = {
      {"format", "pt"}, {"step", "12"}, {"quote\"", "line\n"}};
  EXPECT_EQ(metadata, expected);
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
}

TEST(Safetensors, WritesStridedTensorsAndReportsAnUnwritableFolder) {
  const std::string path = temporary_file();
  const at::Tensor strided = at::arange(6).to(at::kFloat).view({2, 3}).t();
  write_safetensors(path, {{{"x", strided}}, {}});
  EXPECT_TRUE(read_safetensors(path).tensors[0].second.equal(strided));
  EXPECT_THROW(write_safetensors("/nowhere/x.safetensors", {}), Error);
}

TEST(Safetensors, EveryTruncationIsADataErrorNamingFileAndByte) {
  const std::string path = temporary_file();
  write_safetensors(path, {every_type(), {}});
  const std::string bytes = read_file(path);
  for (std::size_t n = 0; n < bytes.size(); n += n < 40 ? 1 : 17) {
    const std::string cut = write_temporary("cut.safetensors", bytes.substr(0, n));
    const std::string what = message_of<DataError>([&] { (void)read_safetensors(cut); });
    EXPECT_TRUE(what.starts_with(cut + " at byte ")) << n << ": " << what;
  }
}

TEST(Safetensors, FlippedHeaderBytesNeverReadWild) {
  const std::string path = temporary_file();
  write_safetensors(path, {every_type(), {}});
  const std::string bytes = read_file(path);
  const auto header = static_cast<std::size_t>(static_cast<unsigned char>(bytes[0])) +
                      256 * static_cast<unsigned char>(bytes[1]);
  int refused = 0;
  for (std::size_t i = 0; i < 8 + header; ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x10);
    const std::string bad = write_temporary("flip.safetensors", flipped);
    try {
      // A flip inside a name or a space may still be a valid file: then all sizes must agree.
      for (const auto& [name, tensor] : read_safetensors(bad).tensors) {
        EXPECT_LE(tensor.nbytes(), bytes.size());
      }
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, static_cast<int>(header) / 2);
}

TEST(Safetensors, RefusesBadLayouts) {
  struct Case {
    const char *header, *expected;
    std::size_t data;
  };
  const Case cases[] = {
      {R"([1])", "no JSON object", 0},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})", "is no JSON", 4},
      {R"({"a":{"dtype":"F8","shape":[1],"data_offsets":[0,4]}})", "unsupported dtype", 4},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "has 4 bytes by dtype", 8},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "has the shape [-1]", 4},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})",
       "is too large", 4},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "with a gap", 8},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "belong to no tensor", 8},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "it is truncated", 3},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
       "inside", 6},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       "stands twice", 4},
      {R"({"__metadata__":{"a":1}})", "a value that is no text", 0},
  };
  for (const Case& c : cases) {
    const std::string header = c.header;
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    bytes += header + std::string(c.data, '\1');
    const std::string path = write_temporary("layout.safetensors", bytes);
    const std::string what = message_of<DataError>([&] { (void)read_safetensors(path); });
    EXPECT_NE(what.find(c.expected), std::string::npos) << c.header << ": " << what;
    EXPECT_TRUE(what.starts_with(path + " at byte ")) << what;
  }
}

}  // namespace
}  // namespace plumbline
