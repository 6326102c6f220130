#include "data/audit.h"

#include <algorithm>
#include <numeric>

#include "data/jpeg_baseline.h"
#include "data/siphash.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

constexpr double kEntropyBytes = 118e6;  // a core decodes so many bytes and pixels a second
constexpr double kPixels = 580e6;
constexpr double kFixedSeconds = 1e-4;
constexpr double kFixedCropAspect = 1.5;
constexpr int kFewCharacters = 3;

struct ScriptRange {
  char32_t first, last;
  std::size_t script;
};

/// Blocks of letters, by the order of kScripts.
constexpr ScriptRange kRanges[] = {{0x41, 0x24f, 0},    {0x1e00, 0x1eff, 0}, {0x370, 0x3ff, 1},
                                   {0x400, 0x52f, 2},   {0x590, 0x5ff, 3},   {0x600, 0x6ff, 4},
                                   {0x750, 0x77f, 4},   {0x900, 0x97f, 5},   {0x3040, 0x30ff, 6},
                                   {0x3400, 0x4dbf, 6}, {0x4e00, 0x9fff, 6}, {0x20000, 0x2fa1f, 6},
                                   {0x1100, 0x11ff, 7}, {0xac00, 0xd7a3, 7}};

std::size_t script_of(char32_t c) {
  for (const ScriptRange& range : kRanges) {
    if (c >= range.first && c <= range.last) return range.script;
  }
  return kScripts.size() - 1;
}

/// What is kept of a sample until the end.
struct Looked {
  std::uint64_t image_hash = 0, caption_hash = 0, key_hash = 0;
  std::uint32_t bytes = 0;
  std::uint16_t width = 0, height = 0;
  std::uint16_t characters = 0, tokens = 0;
  std::uint8_t bad = 0;  ///< 1 + class
  std::uint8_t format = 0;
  std::uint8_t script = 0;
  bool progressive = false, few = false, truncated = false;
};

template <typename T>
std::uint16_t narrow(T value) {
  return static_cast<std::uint16_t>(
      std::min<std::uint64_t>(static_cast<std::uint64_t>(value), 65535));
}

std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void look_at_caption(const std::string& caption, const Tokenizer* tokenizer, Looked& out) {
  out.caption_hash = siphash(caption);
  const std::u32string text = decode_utf8_lossy(caption);
  out.characters = narrow(text.size());
  std::array<int, kScripts.size()> letters{};
  int counted = 0;
  for (const char32_t c : text) {
    if ((properties(c) & (kLetter | kNumber)) != 0) ++counted;
    if ((properties(c) & kLetter) != 0) ++letters[script_of(c)];
  }
  out.few = counted < kFewCharacters;
  out.script =
      static_cast<std::uint8_t>(std::max_element(letters.begin(), letters.end()) - letters.begin());
  if (!tokenizer) return;
  thread_local std::vector<std::int32_t> ids;
  ids.resize(static_cast<std::size_t>(tokenizer->context_length()));
  const int tokens = tokenizer->encode(caption, ids);
  out.tokens = narrow(tokens);
  out.truncated = tokens > tokenizer->context_length();
}

Looked look(const Source& source, std::uint64_t ordinal, const LoadedSample& sample,
            const AuditOptions& options) {
  Looked out;
  const auto refuse = [&](const BadSample& bad) {
    out.bad = static_cast<std::uint8_t>(1 + static_cast<int>(bad.reason));
    return out;
  };
  if (sample.bad) return refuse(*sample.bad);
  out.key_hash = siphash(sample.parts.key);
  const auto probed = probe_image(sample.parts.image, options.limits);
  if (const auto* bad = std::get_if<BadSample>(&probed)) return refuse(*bad);
  const auto& info = std::get<ImageInfo>(probed);
  const auto caption = source.caption(sample.ref, sample.parts, 0, ordinal);
  if (const auto* bad = std::get_if<BadSample>(&caption)) return refuse(*bad);
  out.image_hash = siphash(text_of(sample.parts.image));
  out.bytes = static_cast<std::uint32_t>(sample.parts.image.size());
  out.width = narrow(info.width);
  out.height = narrow(info.height);
  out.format = static_cast<std::uint8_t>(info.format);
  out.progressive = info.format == ImageFormat::jpeg && needs_baseline(sample.parts.image);
  look_at_caption(std::get<std::string>(caption), options.tokenizer, out);
  return out;
}

template <typename Of>
Spread spread(const std::vector<Looked>& good, Of of) {
  std::vector<double> values;
  for (const Looked& one : good) values.push_back(of(one));
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double q) {
    return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {
      values.front(), sum / static_cast<double>(values.size()), at(0.1), at(0.5), at(0.9), at(0.99),
      values.back()};
}

template <typename Of>
std::int64_t repeats(const std::vector<Looked>& good, Of of) {
  std::vector<std::uint64_t> hashes;
  for (const Looked& one : good) hashes.push_back(of(one));
  std::sort(hashes.begin(), hashes.end());
  return hashes.end() - std::unique(hashes.begin(), hashes.end());
}

double aspect_of(const Looked& one) {
  const auto [low, high] = std::minmax(one.width, one.height);
  return static_cast<double>(high) / std::max<double>(1, low);
}

double decode_seconds(const Looked& one) {
  return one.bytes / kEntropyBytes + static_cast<double>(one.width) * one.height / kPixels +
         kFixedSeconds;
}

void count(const std::vector<Looked>& good, AuditReport& report) {
  double seconds = 0;
  for (const Looked& one : good) {
    (one.format == 0 ? report.jpeg : one.format == 1 ? report.png : report.webp) += 1;
    report.progressive += one.progressive ? 1 : 0;
    report.fixed_crops += aspect_of(one) >= kFixedCropAspect ? 1 : 0;
    report.short_captions += one.few ? 1 : 0;
    report.truncated += one.truncated ? 1 : 0;
    ++report.scripts[one.script];
    seconds += decode_seconds(one);
  }
  if (seconds > 0) report.images_per_s_core = static_cast<double>(good.size()) / seconds;
}

}  // namespace

AuditReport audit(const AuditOptions& options, const Progress& progress) {
  const auto sources = open_input(options);
  const Source& source = *sources[0];
  std::vector<Looked> all(source.size());
  visit_samples(source, options.threads, progress,
                [&](std::uint64_t ordinal, const LoadedSample& sample) {
                  all[ordinal] = look(source, ordinal, sample, options);
                });
  AuditReport report;
  report.bad = source.excluded();
  report.samples = std::ssize(all);
  for (const Looked& one : all) {
    if (one.bad != 0) ++report.bad[one.bad - 1U];
  }
  std::erase_if(all, [](const Looked& one) { return one.bad != 0; });
  report.repeated_keys = repeats(all, [](const Looked& one) { return one.key_hash; });
  report.repeated_images = repeats(all, [](const Looked& one) { return one.image_hash; });
  report.repeated_captions = repeats(all, [](const Looked& one) { return one.caption_hash; });
  count(all, report);
  report.image_bytes = spread(all, [](const Looked& one) { return double(one.bytes); });
  report.short_side =
      spread(all, [](const Looked& one) { return double(std::min(one.width, one.height)); });
  report.aspect = spread(all, aspect_of);
  report.caption_characters = spread(all, [](const Looked& one) { return double(one.characters); });
  report.caption_tokens = spread(all, [](const Looked& one) { return double(one.tokens); });
  return report;
}

}  // namespace plumbline
