// Source of images named by a table: for small sets; the whole table is held in memory.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "core/file.h"
#include "data/captions.h"
#include "data/labels.h"
#include "data/manifest.h"
#include "data/parallel.h"
#include "data/siphash.h"
#include "data/source.h"
#include "data/utf8.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxRows = 10'000'000;
constexpr std::uint64_t kMaxImage = 256 << 20;

CaptionOptions captions_of(const SourceOptions& options) {
  CaptionOptions captions = options.captions;
  if (!options.columns.captions.empty()) captions.keys = options.columns.captions;
  return captions;
}

class ManifestSource final : public Source {
 public:
  ManifestSource(const SourceOptions& options, int threads)
      : options_(options),
        captions_(captions_of(options)),
        chooser_(captions_, options.name),
        labels_(options.label, options.name),
        table_(read_manifest(options.manifest, {"", options.columns.raw, options.columns.header})) {
    if (table_.rows.size() > kMaxRows) {
      fail(
          str(table_.rows.size(), " rows; above ", kMaxRows, " make shards (plumbline data pack)"));
    }
    image_ = need(options.columns.image);
    key_ = options.columns.key.empty() ? -1 : need(options.columns.key);
    if (!captions_.none) {
      for (const std::string& name : captions_.keys) caption_columns_.push_back(need(name));
    }
    look_at_files(threads);
    if (usable_.empty()) {
      throw DataError(str("source ", options_.name, ": no usable row among ", table_.rows.size(),
                          " of ", options_.manifest));
    }
  }

  [[nodiscard]] const std::string& name() const override { return options_.name; }
  [[nodiscard]] std::uint64_t size() const override { return usable_.size(); }

  void find(std::uint64_t first, std::uint64_t count, std::vector<SampleRef>& out) const override {
    for (std::uint64_t i = first; i < first + count; ++i) {
      SampleRef ref;
      ref.record.offset = usable_[i].row;
      ref.record.bytes = usable_[i].bytes;
      ref.record.key_hash = siphash(key_of(usable_[i].row));
      out.push_back(ref);
    }
  }

  void read(const SampleRef& ref, std::span<std::uint8_t> out) const override {
    const FileBytes file(path_of(ref.record.offset));
    if (file.size() != out.size() || file.read_at(0, out) != out.size()) {
      throw DataError(str("image ", file.name(), " changed while it was in use"));
    }
  }

  [[nodiscard]] std::optional<BadSample> take_apart(const SampleRef& ref,
                                                    std::span<const std::uint8_t> bytes,
                                                    SampleParts& parts) const override {
    parts.key = key_of(ref.record.offset);
    parts.bytes = parts.image = bytes;
    return std::nullopt;
  }

  [[nodiscard]] std::variant<std::string, BadSample> caption(const SampleRef& ref,
                                                             const SampleParts& parts,
                                                             std::uint64_t seed,
                                                             std::uint64_t g) const override {
    (void)parts;
    if (captions_.none) return std::string();
    return chooser_.choose(cells_of(ref.record.offset), seed, g);
  }

  [[nodiscard]] std::variant<std::int64_t, BadSample> label(const SampleRef& ref,
                                                            const SampleParts& parts,
                                                            std::int64_t classes,
                                                            std::uint64_t seed,
                                                            std::uint64_t g) const override {
    (void)parts;
    return labels_.read(cells_of(ref.record.offset), classes, seed, g);
  }

  [[nodiscard]] std::string key(const SampleRef& ref) const override {
    return key_of(ref.record.offset);
  }
  [[nodiscard]] const std::string& shard(const SampleRef& ref) const override {
    (void)ref;
    return options_.manifest;
  }

  [[nodiscard]] std::string fingerprint() const override {
    std::string text = sha256_hex(read_file(options_.manifest));
    for (const Usable& one : usable_) text += str("\n", one.row, " ", one.bytes);
    return sha256_hex(text);
  }

  [[nodiscard]] std::array<std::int64_t, kBadSampleClasses> excluded() const override {
    return excluded_;
  }

 private:
  struct Usable {
    std::uint64_t row;
    std::uint32_t bytes;
  };

  [[noreturn]] void fail(const std::string& why) const {
    throw UsageError(str("source ", options_.name, ": manifest ", options_.manifest, ": ", why));
  }

  [[nodiscard]] int need(const std::string& column) const {
    const int found = table_.column(column);
    if (found < 0) fail(str("no column '", column, "'"));
    return found;
  }

  [[nodiscard]] const std::string& cell(std::uint64_t row, int column) const {
    return table_.rows[row].cells[static_cast<std::size_t>(column)];
  }

  [[nodiscard]] std::string key_of(std::uint64_t row) const {
    return key_ < 0 ? cell(row, image_) : cell(row, key_);
  }

  [[nodiscard]] std::string path_of(std::uint64_t row) const {
    return (fs::path(options_.root) / fs::path(cell(row, image_)).lexically_normal()).string();
  }

  /// A column is what a member is in a shard; `table_` outlives the result.
  [[nodiscard]] CaptionChooser::Members cells_of(std::uint64_t row) const {
    return [this, row](std::string_view name) -> std::optional<std::string_view> {
      const int column = table_.column(std::string(name));
      if (column < 0) return std::nullopt;
      return cell(row, column);
    };
  }

  /// Bytes of the image, or why the row cannot be used.
  [[nodiscard]] std::variant<std::uint32_t, BadSampleClass> judge(std::uint64_t row) const {
    const fs::path relative = fs::path(cell(row, image_)).lexically_normal();
    if (relative.empty()) return BadSampleClass::no_image;
    if (!options_.root.empty() && (relative.is_absolute() || *relative.begin() == "..")) {
      fail(str("line ", table_.rows[row].line, ": image path '", cell(row, image_),
               "' leaves the root folder"));
    }
    struct stat info {};
    if (::stat(path_of(row).c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return BadSampleClass::no_image;
    }
    const auto bytes = static_cast<std::uint64_t>(info.st_size);
    if (bytes == 0) return BadSampleClass::no_image;
    if (bytes > kMaxImage) return BadSampleClass::too_large;
    const bool text = captions_.none ||
                      std::any_of(caption_columns_.begin(), caption_columns_.end(),
                                  [&](int column) { return !strip(cell(row, column)).empty(); });
    if (!text) return BadSampleClass::empty_text;
    return static_cast<std::uint32_t>(bytes);
  }

  void look_at_files(int threads) {
    std::vector<std::variant<std::uint32_t, BadSampleClass>> verdicts(table_.rows.size());
    parallel_for(std::ssize(verdicts), threads, [&](std::int64_t row) {
      const auto at = static_cast<std::size_t>(row);
      verdicts[at] = judge(at);
    });
    for (std::size_t row = 0; row < verdicts.size(); ++row) {
      if (const auto* bytes = std::get_if<std::uint32_t>(&verdicts[row])) {
        usable_.push_back({row, *bytes});
      } else {
        ++excluded_[static_cast<std::size_t>(std::get<BadSampleClass>(verdicts[row]))];
      }
    }
  }

  SourceOptions options_;
  CaptionOptions captions_;
  CaptionChooser chooser_;
  LabelReader labels_;
  Manifest table_;
  int image_ = -1, key_ = -1;
  std::vector<int> caption_columns_;
  std::vector<Usable> usable_;
  std::array<std::int64_t, kBadSampleClasses> excluded_ = {};
};

}  // namespace

std::unique_ptr<Source> make_manifest_source(const SourceOptions& options, int threads,
                                             const std::function<void(const std::string&)>& warn) {
  auto source = std::make_unique<ManifestSource>(options, threads);
  std::int64_t left_out = 0;
  for (const std::int64_t n : source->excluded()) left_out += n;
  if (left_out > static_cast<std::int64_t>(source->size())) {
    throw UsageError(str("source ", options.name, ": only ", source->size(), " rows of ",
                         options.manifest, " have an image and a caption, ", left_out,
                         " have not; are root and columns right?"));
  }
  if (left_out > 0 && warn) {
    warn(str("source ", options.name, ": ", left_out,
             " rows without an image file or a caption are left out"));
  }
  return source;
}

}  // namespace plumbline
