// Against Pillow, torchvision and OpenCLIP: the committed golden files always, fresh random ones
// (tests/golden/make_image_golden.py --live) where .venv is there.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "image/pillow_colour.h"
#include "jpeg_samplings.h"
#include "plumbline/image.h"

namespace plumbline {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

template <typename T>
std::string digest(const std::vector<T>& values) {
  return sha256_hex({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

/// Decodes a file; the reason stands in `bad` when it was refused.
struct Decoded {
  Image image;
  std::optional<BadSample> bad;
};
Decoded decode_file(const std::string& path) {
  const std::string bytes = read_file(path);
  Decoded result;
  ImageDecoder decoder;
  result.bad = decoder.decode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                              result.image);
  return result;
}

Filter filter_of(const json& record) {
  return record["filter"] == "bicubic" ? Filter::bicubic : Filter::bilinear;
}

std::size_t rgb_bytes(int width, int height) {
  return static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
}

void check_resize(const Image& image, const json& record) {
  ResizeScratch scratch;
  const json& b = record["box"];
  const int width = record["size"][0];
  const int height = record["size"][1];
  std::vector<std::uint8_t> out(rgb_bytes(width, height));
  const ResizeOrder order =
      record["order"] == "pillow13" ? ResizeOrder::pillow13 : ResizeOrder::horizontal;
  resize(image, {b[0], b[1], b[2], b[3]}, width, height, filter_of(record), order, out, scratch);
  EXPECT_EQ(digest(out), record["uint8"]);
}

void check_eval(const Image& image, const json& record) {
  ResizeScratch scratch;
  PreprocessOptions options = preprocess_family(record["family"], 1);
  options.width = record["size"][0];
  options.height = record["size"][1];
  options.fill = record["fill"];
  options.filter = filter_of(record);
  const std::string mode = record["mode"];
  options.mode = mode == "shortest"  ? ResizeMode::shortest
                 : mode == "longest" ? ResizeMode::longest
                                     : ResizeMode::squash;
  std::vector<std::uint8_t> out(rgb_bytes(options.width, options.height));
  eval_transform(image, options, out, scratch);
  EXPECT_EQ(digest(out), record["uint8"]);
  std::vector<float> normalised(out.size());
  normalise(out, options.height, options.width, options.mean, options.std, normalised);
  EXPECT_EQ(digest(normalised), record["float32"]);
}

void check_colour(const Image& image, const json& record) {
  const std::map<std::string, void (*)(std::span<std::uint8_t>, double)> adjust = {
      {"brightness", pillow_brightness},
      {"contrast", pillow_contrast},
      {"saturation", pillow_saturation},
      {"hue", pillow_hue},
      {"grey", [](std::span<std::uint8_t> rgb, double) { pillow_grey(rgb); }}};
  std::vector<std::uint8_t> rgb(image.pixels_HWC.begin(), image.pixels_HWC.end());
  for (const json& step : record["steps"]) {
    adjust.at(step[0])(rgb, step[1]);
    ASSERT_EQ(digest(rgb), step[2]) << "after " << step[0];
  }
}

void check_record(const Image& image, const json& record) {
  if (record["kind"] == "resize") {
    check_resize(image, record);
  } else if (record["kind"] == "colour") {
    check_colour(image, record);
  } else {
    check_eval(image, record);
  }
}

/// Returns how many comparisons were made.
int check_folder(const std::string& folder) {
  const json expected = json::parse(read_file(folder + "/expected.json"));
  int checks = 0;
  for (const json& entry : expected["images"]) {
    SCOPED_TRACE(entry["file"].get<std::string>());
    const Decoded decoded = decode_file(folder + "/" + entry["file"].get<std::string>());
    ++checks;
    if (decoded.bad) {
      EXPECT_TRUE(entry["decoded"].is_null()) << "refused: " << decoded.bad->message;
      continue;
    }
    EXPECT_EQ(decoded.image.width, entry["width"]);
    EXPECT_EQ(decoded.image.height, entry["height"]);
    const bool same = entry["decoded"] == digest(decoded.image.pixels_HWC);
    EXPECT_TRUE(same) << "decoded pixels differ";
    if (!same) continue;
    for (const json& record : entry["records"]) {
      SCOPED_TRACE(record.dump());
      ++checks;
      check_record(decoded.image, record);
    }
  }
  return checks;
}

TEST(ImageParity, GoldenFiles) {
  EXPECT_GT(check_folder(PLUMBLINE_SOURCE_DIR "/tests/golden/image"), 250);
}

/// One damaged file against Pillow. What both accept must be the same pixels, but for a progressive
/// JPEG that lost a scan: how its blocks are smoothed changed between versions of libjpeg-turbo.
/// Beyond Pillow we refuse a PNG with a wrong checksum or no IEND, and a JPEG whose EOI was hit;
/// beyond us Pillow refuses a PNG for the checksum of a chunk that holds no pixels.
void check_damaged(const Decoded& decoded, const json& bad, const json& undamaged) {
  const std::string name = bad["file"];
  const bool is_png = name.find(".png") != std::string::npos;
  if (decoded.bad) {
    const bool lost_end = decoded.bad->message.find("Premature end") != std::string::npos;
    EXPECT_TRUE(bad["decoded"].is_null() || is_png || lost_end) << decoded.bad->message;
    return;
  }
  const json& expected = is_png && bad["decoded"].is_null() ? undamaged : bad["decoded"];
  if (name.find("progressive") != std::string::npos && !expected.is_null()) return;
  EXPECT_TRUE(expected == digest(decoded.image.pixels_HWC)) << "accepted other pixels";
}

void check_damaged_files(const std::string& folder) {
  const json expected = json::parse(read_file(folder + "/expected.json"));
  int files = 0;
  int same_verdict = 0;
  for (const json& entry : expected["images"]) {
    for (const json& bad : entry.value("damaged", json::array())) {
      SCOPED_TRACE(bad["file"].get<std::string>());
      const Decoded decoded = decode_file(folder + "/" + bad["file"].get<std::string>());
      check_damaged(decoded, bad, entry["decoded"]);
      ++files;
      same_verdict += decoded.bad.has_value() == bad["decoded"].is_null() ? 1 : 0;
    }
  }
  EXPECT_GT(files, 2500);
  EXPECT_GT(same_verdict, files * 8 / 10);
}

/// Two-sample Kolmogorov-Smirnov, at the stored points: below the 1e-6 quantile.
TEST(ImageParity, CropsAreDistributedAsTorchvisions) {
  constexpr int kDraws = 20000;
  const json golden =
      json::parse(read_file(PLUMBLINE_SOURCE_DIR "/tests/golden/image/expected.json"));
  ASSERT_EQ(golden["crops"].size(), 3U);
  for (const json& crop : golden["crops"]) {
    TrainTransformOptions options;
    options.scale = crop["scale"].get<std::array<double, 2>>();
    std::map<std::string, std::vector<double>> ours;
    for (std::uint64_t g = 0; g < kDraws; ++g) {
      const Box b = random_resized_crop(crop["width"], crop["height"], options, 11, g);
      ours["area"].push_back(static_cast<double>(b.width) * b.height);
      ours["aspect"].push_back(static_cast<double>(b.width) / b.height);
      ours["left"].push_back(b.left);
      ours["top"].push_back(b.top);
    }
    const double bound = 2.7 * std::sqrt(1.0 / kDraws + 1.0 / crop["draws"].get<double>());
    for (const auto& [name, values] : ours) {
      for (const json& point : crop[name]) {
        const auto below = std::ranges::count_if(
            values, [limit = point[0].get<double>()](double v) { return v <= limit; });
        EXPECT_NEAR(static_cast<double>(below) / kDraws, point[1].get<double>(), bound)
            << name << " <= " << point[0] << " of " << crop["width"] << 'x' << crop["height"];
      }
    }
  }
}

/// PLUMBLINE_LIVE_SEED tries other random images; PLUMBLINE_KEEP=1 leaves them where they are.
TEST(ImageParity, LiveRandomAndDamagedFiles) {
  const std::string python = PLUMBLINE_SOURCE_DIR "/.venv/bin/python";
  if (!fs::exists(python)) GTEST_SKIP() << "no .venv/bin/python (launch/setup.sh makes it)";
  const char* chosen = std::getenv("PLUMBLINE_LIVE_SEED");
  const std::string seed = std::to_string(chosen != nullptr ? std::atoi(chosen) : 1);
  const std::string folder =
      (fs::temp_directory_path() / ("plumbline-image-" + std::to_string(getpid()))).string();
  fs::create_directories(folder);
  write_jpeg_samplings(folder);
  const std::string script = PLUMBLINE_SOURCE_DIR "/tests/golden/make_image_golden.py";
  ASSERT_EQ(std::system((python + " " + script + " " + folder + " --live " + seed).c_str()), 0);
  EXPECT_GT(check_folder(folder), 700);
  check_damaged_files(folder);
  if (std::getenv("PLUMBLINE_KEEP") == nullptr) fs::remove_all(folder);
}

}  // namespace
}  // namespace plumbline
