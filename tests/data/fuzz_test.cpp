// Damaged bytes, a few thousand variants from a fixed seed (PLUMBLINE_FUZZ_VARIANTS: more): the
// answer is a result or a named error, never a crash (the sanitizer presets run this too).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "core/philox.h"
#include "data/captions.h"
#include "data/jpeg_baseline.h"
#include "data/manifest.h"
#include "data/sample_group.h"
#include "data/utf8.h"
#include "plumbline/error.h"
#include "tests/data/fixture.h"

namespace plumbline {
namespace {

std::uint32_t variants() {
  const char* text = std::getenv("PLUMBLINE_FUZZ_VARIANTS");
  return text ? static_cast<std::uint32_t>(std::max(4000, std::atoi(text))) : 4000;
}

/// `text` with 1 to 4 bytes changed and sometimes cut.
std::string damaged(std::string text, std::uint32_t variant) {
  const std::uint64_t stream = derive(1, Purpose::synthetic, variant);
  const Words count = draw(stream, 0);
  for (std::uint32_t i = 1; i <= 1 + count[0] % 4; ++i) {
    const Words w = draw(stream, i);
    text[w[0] % text.size()] = static_cast<char>(w[1] % 3 == 0 ? 0xff : w[2]);
  }
  if (count[1] % 3 == 0) text.resize(count[2] % text.size());
  return text;
}

TEST(Fuzz, TarScanner) {
  // Small members, so that most damage hits headers.
  const std::string whole = tar_of({{"a.jpg", "image"},
                                    {"a.txt", "text"},
                                    {std::string(130, 'k') + ".txt", "long name"},
                                    {"b.txt", std::string(700, 'b')}});
  const std::string name = "fuzz";
  int errors = 0;
  for (std::uint32_t variant = 0; variant < variants(); ++variant) {
    const std::string bytes = damaged(whole, variant);
    const MemoryBytes source({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                             name);
    try {
      TarReader tar(source);
      GroupReader groups(tar);
      while (const auto group = groups.next()) {
        for (const GroupMember& member : group->members) {
          ASSERT_LE(member.offset + member.size, bytes.size());
        }
      }
    } catch (const TarError& error) {
      ++errors;
      ASSERT_LE(error.byte(), bytes.size() + 512);
    }
  }
  EXPECT_GT(errors, 2000);
}

TEST(Fuzz, ImageHeadersAndData) {
  const std::string whole = jpeg_of(1, 24);
  DecodeLimits limits;
  limits.max_pixels = 100'000;
  ImageDecoder decoder(limits);
  Image image;
  std::uint32_t refused = 0, recoded = 0;
  for (std::uint32_t variant = 0; variant < variants(); ++variant) {
    const std::string bytes = damaged(whole, variant);
    const std::span<const std::uint8_t> view(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                             bytes.size());
    (void)needs_baseline(view);
    const auto probed = probe_image(view, limits);
    const bool bad = decoder.decode(view, image).has_value();
    refused += bad ? 1 : 0;
    const auto* info = std::get_if<ImageInfo>(&probed);
    if (!info) continue;
    recoded += std::holds_alternative<BadSample>(to_baseline(view)) ? 0 : 1;
    if (bad) continue;
    ASSERT_EQ(image.pixels_HWC.size(),
              std::size_t{3} * static_cast<std::size_t>(info->width * info->height));
  }
  EXPECT_GT(refused, variants() / 5);
  EXPECT_GT(recoded, 0U);
}

TEST(Fuzz, JsonTableAndUtf8) {
  const std::string json = R"({"a": NaN, "t": ["x\u00e4\ud83d\ude00", {"n": 1e9}], "z": "ä"})";
  const std::string table = "key,caption\n1,\"quoted, \"\"cell\"\"\"\r\n2,\xe2\x82\xac\n";
  int accepted = 0;
  for (std::uint32_t variant = 0; variant < variants(); ++variant) {
    const auto strings = json_strings(damaged(json, variant), "t");
    accepted += strings && !strings->empty() ? 1 : 0;
    const std::string text = damaged(table, variant);
    EXPECT_LE(strip(text).size(), text.size());
    const std::string_view cut = cut_utf8(text, 20);
    if (is_utf8(text)) {
      EXPECT_TRUE(is_utf8(cut));
    }
    try {
      (void)split_records(text, ',', false, "fuzz.csv");
    } catch (const DataError&) {
      continue;
    }
  }
  EXPECT_GT(accepted, 10) << "most damage is refused, but not all";
}

}  // namespace
}  // namespace plumbline
