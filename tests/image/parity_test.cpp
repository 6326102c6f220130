// Against Pillow, torchvision and OpenCLIP: the committed golden files always, fresh random ones
// (tests/golden/make_image_golden.py --live) where .venv is there.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/file.h"
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
    EXPECT_EQ(digest(decoded.image.pixels_HWC), entry["decoded"]);
    if (::testing::Test::HasFailure()) continue;
    for (const json& record : entry["records"]) {
      SCOPED_TRACE(record.dump());
      ++checks;
      record["kind"] == "resize" ? check_resize(decoded.image, record)
                                 : check_eval(decoded.image, record);
    }
  }
  return checks;
}

TEST(ImageParity, GoldenFiles) {
  EXPECT_GT(check_folder(PLUMBLINE_SOURCE_DIR "/tests/golden/image"), 250);
}

/// The folder that the live script filled, made once for the tests of this file. PLUMBLINE_KEEP=1
/// leaves it in the temporary folder.
class ImageParityLive : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string python = PLUMBLINE_SOURCE_DIR "/.venv/bin/python";
    if (!fs::exists(python)) return;
    folder_ =
        (fs::temp_directory_path() / ("plumbline-image-" + std::to_string(getpid()))).string();
    fs::create_directories(folder_);
    write_jpeg_samplings(folder_);
    const std::string command = python +
                                " " PLUMBLINE_SOURCE_DIR "/tests/golden/make_image_golden.py " +
                                folder_ + " --live " + seed();
    status_ = std::system(command.c_str());
  }
  static void TearDownTestSuite() {
    if (!folder_.empty() && std::getenv("PLUMBLINE_KEEP") == nullptr) fs::remove_all(folder_);
  }
  void SetUp() override {
    if (folder_.empty()) GTEST_SKIP() << "no .venv/bin/python (launch/setup.sh makes it)";
    ASSERT_EQ(status_, 0) << "make_image_golden.py failed";
  }
  /// PLUMBLINE_LIVE_SEED tries other random images.
  static std::string seed() {
    const char* chosen = std::getenv("PLUMBLINE_LIVE_SEED");
    return chosen != nullptr ? std::to_string(std::atoi(chosen)) : "1";
  }
  static std::string folder_;
  static int status_;
};
std::string ImageParityLive::folder_;
int ImageParityLive::status_ = 0;

TEST_F(ImageParityLive, RandomImagesAndBoxes) { EXPECT_GT(check_folder(folder_), 500); }

/// A damaged file that we accept must decode to Pillow's pixels; what we refuse beyond Pillow must
/// be a PNG (critical checksums and IEND are checked here, not there).
TEST_F(ImageParityLive, DamagedFilesAsPillowOrRefused) {
  const json expected = json::parse(read_file(folder_ + "/expected.json"));
  int same = 0;
  for (const json& entry : expected["images"]) {
    for (const json& bad : entry.value("damaged", json::array())) {
      const std::string name = bad["file"];
      SCOPED_TRACE(name);
      const Decoded decoded = decode_file(folder_ + "/" + name);
      if (decoded.bad) {
        const bool is_png = name.find(".png") != std::string::npos;
        EXPECT_TRUE(bad["decoded"].is_null() || is_png) << decoded.bad->message;
      } else {
        EXPECT_EQ(json(digest(decoded.image.pixels_HWC)), bad["decoded"]);
      }
      same += decoded.bad.has_value() == bad["decoded"].is_null() ? 1 : 0;
    }
  }
  EXPECT_GT(same, 1000);
}

}  // namespace
}  // namespace plumbline
