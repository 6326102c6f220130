// Source of made-up samples.
#include <algorithm>
#include <cstdio>

#include "core/file.h"
#include "data/siphash.h"
#include "data/source.h"
#include "data/synthetic.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kPool = 64;  // JPEG files kept in memory

class SyntheticSource final : public Source {
 public:
  explicit SyntheticSource(const SourceOptions& options) : options_(options) {
    check();
    if (options_.synthetic != "jpeg") return;
    Image image;
    for (std::uint64_t i = 0; i < pool_size(); ++i) {
      render_synthetic(i, label(i), options_.synthetic_size, image);
      pool_.push_back(encode_jpeg(image, options_.synthetic_quality));
    }
  }

  [[nodiscard]] const std::string& name() const override { return options_.name; }
  [[nodiscard]] std::uint64_t size() const override {
    return static_cast<std::uint64_t>(options_.synthetic_samples);
  }

  void find(std::uint64_t first, std::uint64_t count, std::vector<SampleRef>& out) const override {
    for (std::uint64_t i = first; i < first + count; ++i) {
      SampleRef ref;
      ref.record.offset = i;
      ref.record.key_hash = siphash(key_of(i));
      out.push_back(ref);
    }
  }

  void read(const SampleRef& ref, std::span<std::uint8_t> out) const override {
    (void)ref;
    require(out.empty(), "synthetic samples have no bytes to read");
  }

  [[nodiscard]] std::optional<BadSample> take_apart(const SampleRef& ref,
                                                    std::span<const std::uint8_t> bytes,
                                                    SampleParts& parts) const override {
    (void)bytes;
    const std::uint64_t i = ref.record.offset;
    parts.key = key_of(i);
    if (pool_.empty()) {
      parts.image = {};
      render_synthetic(i, label(i), options_.synthetic_size, parts.pixels);
    } else {
      parts.image = pool_[i % pool_size()];
    }
    return std::nullopt;
  }

  [[nodiscard]] std::variant<std::string, BadSample> caption(const SampleRef& ref,
                                                             const SampleParts& parts,
                                                             std::uint64_t seed,
                                                             std::uint64_t g) const override {
    (void)parts, (void)seed, (void)g;
    return "a photo of a " + synthetic_class_name(label(ref.record.offset));
  }

  [[nodiscard]] std::variant<std::int64_t, BadSample> label(const SampleRef& ref,
                                                            const SampleParts& parts,
                                                            std::int64_t classes,
                                                            std::uint64_t seed,
                                                            std::uint64_t g) const override {
    (void)parts, (void)seed, (void)g;
    const int own = label(ref.record.offset);
    if (own < classes) return own;
    return BadSample{BadSampleClass::no_label, str("class ", own, " of ", classes)};
  }

  [[nodiscard]] std::string key(const SampleRef& ref) const override {
    return key_of(ref.record.offset);
  }
  [[nodiscard]] const std::string& shard(const SampleRef& ref) const override {
    (void)ref;
    return options_.name;
  }
  [[nodiscard]] std::string fingerprint() const override {
    return sha256_hex(str("synthetic ", options_.synthetic, " ", options_.synthetic_samples, " ",
                          options_.synthetic_classes, " ", options_.synthetic_size, " ",
                          options_.synthetic_quality));
  }

 private:
  void check() const {
    const std::string where = str("source ", options_.name, ": synthetic: ");
    if (options_.synthetic != "pixels" && options_.synthetic != "jpeg") {
      throw UsageError(str(where, "kind '", options_.synthetic, "' is neither pixels nor jpeg"));
    }
    if (options_.synthetic_samples < 1 || options_.synthetic_classes < 1 ||
        options_.synthetic_size < 1 || options_.synthetic_size > 16384 ||
        options_.synthetic_quality < 1 || options_.synthetic_quality > 100) {
      throw UsageError(str(where, "samples ", options_.synthetic_samples, ", classes ",
                           options_.synthetic_classes, ", size ", options_.synthetic_size,
                           ", quality ", options_.synthetic_quality, ": out of range"));
    }
    if (!options_.shards.empty()) throw UsageError(where + "a source has shards or is synthetic");
  }

  /// A multiple of the classes, so that a pool file has the class of every ordinal it stands for.
  [[nodiscard]] std::uint64_t pool_size() const {
    const auto classes = static_cast<std::uint64_t>(options_.synthetic_classes);
    return (std::max(kPool, classes) + classes - 1) / classes * classes;
  }
  [[nodiscard]] int label(std::uint64_t i) const {
    return static_cast<int>(i % static_cast<std::uint64_t>(options_.synthetic_classes));
  }
  [[nodiscard]] static std::string key_of(std::uint64_t i) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "%09llu", static_cast<unsigned long long>(i));
    return text.data();
  }

  SourceOptions options_;
  std::vector<std::vector<std::uint8_t>> pool_;
};

}  // namespace

std::unique_ptr<Source> make_synthetic_source(const SourceOptions& options) {
  return std::make_unique<SyntheticSource>(options);
}

}  // namespace plumbline
