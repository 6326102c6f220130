// Source of samples in tar shards.
#include <algorithm>
#include <filesystem>
#include <numeric>

#include "core/file.h"
#include "data/captions.h"
#include "data/labels.h"
#include "data/parallel.h"
#include "data/shard_files.h"
#include "data/shard_list.h"
#include "data/siphash.h"
#include "data/source.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

std::string join_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

class ShardSource final : public Source {
 public:
  ShardSource(const SourceOptions& options, std::vector<IndexedShard> shards,
              std::shared_ptr<ShardAccess> access)
      : options_(options),
        chooser_(options.captions, options.name),
        labels_(options.label, options.name),
        access_(std::move(access)),
        shards_(std::move(shards)),
        first_(shards_.size() + 1) {
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      first_[i + 1] = first_[i] + shards_[i].header().valid;
    }
  }

  [[nodiscard]] const std::string& name() const override { return options_.name; }
  [[nodiscard]] std::uint64_t size() const override { return first_.back(); }

  void find(std::uint64_t first, std::uint64_t count, std::vector<SampleRef>& out) const override {
    std::vector<IndexRecord> records;
    const auto after = std::upper_bound(first_.begin(), first_.end(), first);
    auto shard = static_cast<std::uint32_t>(after - first_.begin() - 1);
    while (count > 0) {
      require(shard < shards_.size(), "ordinal beyond the end of a source");
      const std::uint64_t n = std::min(count, first_[shard + 1] - first);
      records.clear();
      if (n > 0) shards_[shard].read(first - first_[shard], n, records);
      for (const IndexRecord& record : records) out.push_back({shard, record});
      first += n;
      count -= n;
      ++shard;
    }
  }

  void read(const SampleRef& ref, std::span<std::uint8_t> out) const override {
    const auto file = files_.get(ref.shard, shards_[ref.shard]);
    const std::size_t n = file->read_at(ref.record.offset, out);
    // Only the padding of the last member may be missing.
    if (out.size() - n >= 512) throw changed(ref);
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(n), out.end(), std::uint8_t{0});
  }

  [[nodiscard]] std::optional<BadSample> take_apart(const SampleRef& ref,
                                                    std::span<const std::uint8_t> bytes,
                                                    SampleParts& parts) const override {
    try {
      parts.group = parse_group(bytes, shards_[ref.shard].path());
    } catch (const TarError&) {
      throw changed(ref);
    }
    if (siphash(parts.group.key) != ref.record.key_hash) throw changed(ref);
    parts.key = parts.group.key;
    parts.bytes = bytes;
    const GroupMember* image = parts.group.find(options_.image_keys);
    if (!image) return BadSample{BadSampleClass::no_image, "no image member"};
    parts.image = bytes.subspan(image->offset, image->size);
    if (parts.image.empty()) return BadSample{BadSampleClass::decode, "the image has 0 bytes"};
    return std::nullopt;
  }

  [[nodiscard]] std::variant<std::string, BadSample> caption(const SampleRef& ref,
                                                             const SampleParts& parts,
                                                             std::uint64_t seed,
                                                             std::uint64_t g) const override {
    (void)ref;
    if (options_.captions.none) return std::string();
    return chooser_.choose(members_of(parts), seed, g);
  }

  [[nodiscard]] std::variant<std::int64_t, BadSample> label(const SampleRef& ref,
                                                            const SampleParts& parts,
                                                            std::int64_t classes,
                                                            std::uint64_t seed,
                                                            std::uint64_t g) const override {
    (void)ref;
    return labels_.read(members_of(parts), classes, seed, g);
  }

  [[nodiscard]] std::string key(const SampleRef& ref) const override {
    // Only headers are read: the image may be large, and keys of whole sets are wanted.
    const auto file = files_.get(ref.shard, shards_[ref.shard]);
    const WindowBytes window(*file, ref.record.offset, ref.record.bytes);
    try {
      TarReader tar(window, TarEnd::at_size);
      const std::optional<Member> first = tar.next();
      const std::optional<KeyAndSuffix> name = first ? split_name(first->name) : std::nullopt;
      if (name && siphash(name->key) == ref.record.key_hash) return std::string(name->key);
    } catch (const TarError&) {
      // told below, like every other way of not being the sample
    }
    throw changed(ref);
  }

  [[nodiscard]] const std::string& shard(const SampleRef& ref) const override {
    return shards_[ref.shard].path();
  }

  [[nodiscard]] std::string fingerprint() const override {
    std::string text;
    for (const IndexedShard& shard : shards_) {
      const IndexHeader& h = shard.header();
      text += str(std::filesystem::path(shard.path()).filename().string(), "\t", h.shard_bytes,
                  "\t", h.valid, "\t", h.content_hash, "\n");
    }
    return sha256_hex(text);
  }

  [[nodiscard]] std::array<std::int64_t, kBadSampleClasses> excluded() const override {
    std::array<std::int64_t, kBadSampleClasses> counts{};
    for (const IndexedShard& shard : shards_) {
      const IndexHeader& h = shard.header();
      for (std::size_t c = 0; c < counts.size(); ++c) {
        counts[c] += static_cast<std::int64_t>(h.by_class[c]);
      }
      if (h.verdict == ShardVerdict::truncated_tar) ++counts[1];
      if (h.verdict == ShardVerdict::bad_header) ++counts[2];
    }
    return counts;
  }

  void stop() const override { access_->stop.request_stop(); }
  [[nodiscard]] std::int64_t retries() const override { return access_->counters->retries; }

  /// Throws when the source cannot be used; tells what is left out.
  void report(const std::function<void(const std::string&)>& warn) const {
    std::uint64_t members = 0, samples = 0;
    for (const IndexedShard& shard : shards_) {
      members += shard.header().members;
      samples += shard.header().samples;
    }
    const std::string where = str("source ", options_.name, ": ");
    if (size() == 0) {
      throw DataError(str(where, "no usable sample in ", shards_.size(), " shards (", members,
                          " members, ", samples, " samples seen); wanted an image of {",
                          join_words(options_.image_keys), "}",
                          options_.captions.none
                              ? std::string()
                              : str(" and a caption of {", join_words(options_.captions.keys), "}"),
                          by_class(), first_damage()));
    }
    if (size() * 2 < samples) {
      throw UsageError(str(where, "only ", size(), " of ", samples, " samples are usable",
                           by_class(), "; are image_keys and captions.keys right?"));
    }
    if (!warn) return;
    if (size() < samples) {
      warn(str(where, samples - size(), " of ", samples, " samples are left out", by_class()));
    }
    if (const std::string damage = first_damage(); !damage.empty()) {
      warn(str(where, "damaged shards, read up to the damage", damage));
    }
    const auto unwritten = std::count_if(shards_.begin(), shards_.end(),
                                         [](const IndexedShard& s) { return s.unwritten(); });
    if (unwritten > 0) {
      warn(str(where, "the indexes of ", unwritten,
               " shards could not be written and are kept in memory; set data.index_dir"));
    }
  }

 private:
  /// `parts` must outlive what is returned.
  [[nodiscard]] static CaptionChooser::Members members_of(const SampleParts& parts) {
    return [&parts](std::string_view suffix) -> std::optional<std::string_view> {
      const GroupMember* member = parts.group.find(suffix);
      if (!member) return std::nullopt;
      const auto content = parts.bytes.subspan(member->offset, member->size);
      return std::string_view(reinterpret_cast<const char*>(content.data()), content.size());
    };
  }

  [[nodiscard]] DataError changed(const SampleRef& ref) const {
    return DataError(str("shard ", shard(ref), " at byte ", ref.record.offset,
                         ": not the sample that the index names; the shard changed"));
  }

  [[nodiscard]] std::string by_class() const {
    std::string text;
    const auto counts = excluded();
    for (std::size_t c = 0; c < counts.size(); ++c) {
      if (counts[c] == 0) continue;
      text +=
          str(text.empty() ? ": " : ", ", counts[c], " ", name_of(static_cast<BadSampleClass>(c)));
    }
    return text;
  }

  [[nodiscard]] std::string first_damage() const {
    std::string text;
    int named = 0;
    for (const IndexedShard& shard : shards_) {
      const IndexHeader& h = shard.header();
      const bool clean = h.verdict == ShardVerdict::clean && h.trailing_bytes == 0;
      if (clean || named++ >= 5) continue;
      text += str("; ", shard.path(), " at byte ", h.end_offset, " (",
                  h.verdict == ShardVerdict::truncated_tar ? "truncated_tar"
                  : h.verdict == ShardVerdict::bad_header  ? "bad_header"
                                                           : "bytes after the end",
                  ")");
    }
    return named > 5 ? str(text, "; ", named - 5, " more") : text;
  }

  SourceOptions options_;
  CaptionChooser chooser_;
  LabelReader labels_;
  std::shared_ptr<ShardAccess> access_;
  std::vector<IndexedShard> shards_;
  std::vector<std::uint64_t> first_;  ///< ordinal of each shard's first sample, and the total
  ShardFiles files_;
};

std::unique_ptr<Source> open_shards(const SourceOptions& options, const DataOptions& data,
                                    const LoaderContext& context, int threads) {
  const std::vector<std::string> paths =
      list_shards(options.shards, options.missing, options.name, data.allow_pipe);
  const std::string& index_dir = data.index_dir.empty() ? data.cache.dir : data.index_dir;
  const bool remote = std::any_of(paths.begin(), paths.end(), is_pipe);
  const auto access = std::make_shared<ShardAccess>(data);
  const IndexSettings settings = index_settings(options);
  const auto n = static_cast<std::int64_t>(paths.size());
  std::vector<std::optional<IndexedShard>> opened(paths.size());
  parallel_for(n, threads, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>((i + n * context.rank / context.world) % n);
    try {
      opened[at].emplace(paths[at], settings, remote ? index_dir : data.index_dir, access, true);
    } catch (const UnreadableShard&) {
      if (options.missing != "skip") throw;
    }
  });
  std::vector<IndexedShard> shards;
  for (auto& shard : opened) {
    if (shard) shards.push_back(*std::move(shard));
  }
  const auto warn = context.rank == 0 ? context.warn : nullptr;
  if (shards.size() < paths.size() && warn) {
    warn(str("source ", options.name, ": ", paths.size() - shards.size(), " of ", paths.size(),
             " remote shards cannot be read and are left out (missing: skip)"));
  }
  auto source = std::make_unique<ShardSource>(options, std::move(shards), access);
  source->report(warn);
  return source;
}

}  // namespace

std::vector<std::unique_ptr<Source>> open_sources(const DataOptions& options,
                                                  const LoaderContext& context, int threads) {
  if (options.sources.empty()) throw UsageError("data.sources: no source");
  std::vector<std::unique_ptr<Source>> sources;
  for (const SourceOptions& source : options.sources) {
    if (source.name.empty()) throw UsageError("data.sources: a source without a name");
    for (const auto& other : sources) {
      if (other->name() == source.name) {
        throw UsageError(str("data.sources: two sources are called ", source.name));
      }
    }
    const int kinds = (source.synthetic.empty() ? 0 : 1) + (source.shards.empty() ? 0 : 1) +
                      (source.manifest.empty() ? 0 : 1);
    if (kinds != 1) {
      throw UsageError(
          str("source ", source.name, ": needs one of shards, manifest and synthetic"));
    }
    sources.push_back(
        !source.synthetic.empty() ? make_synthetic_source(source)
        : !source.manifest.empty()
            ? make_manifest_source(source, threads, context.rank == 0 ? context.warn : nullptr)
            : open_shards(source, options, context, threads));
  }
  return sources;
}

}  // namespace plumbline
