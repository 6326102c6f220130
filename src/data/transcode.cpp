#include "data/transcode.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "core/file.h"
#include "data/jpeg_baseline.h"
#include "data/sample_group.h"
#include "data/shard_access.h"
#include "data/shard_list.h"
#include "data/synthetic.h"
#include "data/tar_writer.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessages = 20;

std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Recoded {
  std::vector<std::uint8_t> bytes;  ///< empty: as it was
  bool resized = false;
  std::string problem;
};

/// One shard; one a thread.
class ShardTranscoder {
 public:
  explicit ShardTranscoder(const TranscodeOptions& options)
      : options_(options), decoder_(options.limits) {}

  std::int64_t run(const std::string& path, const ShardAccess& access, const TarWriter::Sink& sink,
                   TranscodeReport& report) {
    const auto file = open_shard(path, access);
    TarReader tar(*file);
    GroupReader groups(tar);
    TarWriter out(sink);
    try {
      while (const std::optional<SampleGroup> group = groups.next()) {
        ++report.samples;
        const GroupMember* image = group->find(options_.source.image_keys);
        for (const GroupMember& member : group->members) {
          read(*file, member);
          write(path, *group, member, &member == image, out, report);
        }
      }
    } catch (const TarError& error) {
      report.damaged.emplace_back(error.what());
    }
    return report.samples;
  }

 private:
  void read(const ByteSource& file, const GroupMember& member) {
    if (member.size > static_cast<std::uint64_t>(std::int64_t{1} << 30)) {
      throw DataError(str("shard ", file.name(), " at byte ", member.offset, ": a member of ",
                          member.size, " bytes"));
    }
    bytes_.resize(member.size);
    bytes_.resize(file.read_at(member.offset, bytes_));
  }

  void write(const std::string& path, const SampleGroup& group, const GroupMember& member,
             bool is_image, TarWriter& out, TranscodeReport& report) {
    std::string suffix = member.suffix;
    if (!is_image) {
      out.add(group.key + "." + suffix, text_of(bytes_));
      return;
    }
    Recoded recoded = recode();
    if (!recoded.problem.empty() && report.messages.size() < kMessages) {
      report.messages.push_back(str(path, ", key ", group.key, ": ", recoded.problem));
    }
    report.bytes_before += std::ssize(bytes_);
    if (recoded.bytes.empty()) {
      ++report.kept;
    } else {
      recoded.resized ? ++report.resized : ++report.recoded;
      if (recoded.resized && !group.find("jpg")) suffix = "jpg";
      bytes_ = std::move(recoded.bytes);
    }
    report.bytes_after += std::ssize(bytes_);
    out.add(group.key + "." + suffix, text_of(bytes_));
  }

  Recoded recode() {
    const auto probed = probe_image(bytes_, options_.limits);
    if (const auto* bad = std::get_if<BadSample>(&probed)) return {{}, false, bad->message};
    const auto& info = std::get<ImageInfo>(probed);
    if (options_.resize > 0 && std::min(info.width, info.height) > options_.resize) {
      return resized();
    }
    if (info.format != ImageFormat::jpeg || !needs_baseline(bytes_)) return {};
    auto baseline = to_baseline(bytes_);
    if (auto* bad = std::get_if<BadSample>(&baseline)) return {{}, false, bad->message};
    Recoded result{std::get<0>(std::move(baseline)), false, ""};
    if (options_.verify) compare(result.bytes);
    return result;
  }

  void compare(const std::vector<std::uint8_t>& recoded) {
    Image other;
    const bool before = !decoder_.decode(bytes_, image_);
    const bool after = !decoder_.decode(recoded, other);
    require(before == after && (!before || image_.pixels_HWC == other.pixels_HWC),
            "transcoding changed the pixels of an image");
  }

  Recoded resized() {
    if (const auto bad = decoder_.decode(bytes_, image_)) return {{}, false, bad->message};
    const double scale = static_cast<double>(options_.resize) /
                         static_cast<double>(std::min(image_.width, image_.height));
    const auto scaled = [&](int side) { return std::max(1, static_cast<int>(side * scale + 0.5)); };
    Image small;
    small.width = scaled(image_.width);
    small.height = scaled(image_.height);
    small.pixels_HWC.resize(static_cast<std::size_t>(small.width) *
                            static_cast<std::size_t>(small.height) * 3);
    plumbline::resize(image_, {0, 0, image_.width, image_.height}, small.width, small.height,
                      Filter::bicubic, ResizeOrder::pillow13, small.pixels_HWC, scratch_);
    return {encode_jpeg(small, options_.quality), true, ""};
  }

  const TranscodeOptions& options_;
  ImageDecoder decoder_;
  Image image_;
  ResizeScratch scratch_;
  std::vector<std::uint8_t> bytes_;
};

std::vector<std::string> names_of(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    std::string name = fs::path(path).filename().string();
    for (const char* end : {".gz", ".zst"}) {
      if (name.ends_with(end)) name.resize(name.size() - std::string(end).size());
    }
    if (!name.ends_with(".tar")) name += ".tar";
    if (!seen.insert(name).second) {
      throw UsageError(str("two shards are called ", name, "; transcode them into two folders"));
    }
    names.push_back(std::move(name));
  }
  return names;
}

void add(const TranscodeReport& part, TranscodeReport& sum) {
  sum.samples += part.samples;
  sum.recoded += part.recoded;
  sum.resized += part.resized;
  sum.kept += part.kept;
  sum.bytes_before += part.bytes_before;
  sum.bytes_after += part.bytes_after;
  sum.messages.insert(sum.messages.end(), part.messages.begin(), part.messages.end());
  sum.damaged.insert(sum.damaged.end(), part.damaged.begin(), part.damaged.end());
}

}  // namespace

TranscodeReport transcode(const TranscodeOptions& options, const Progress& progress) {
  if (options.resize < 0 || options.quality < 1 || options.quality > 100) {
    throw UsageError(
        str("resize ", options.resize, ", quality ", options.quality, ": out of range"));
  }
  const auto paths = list_shards(options.source.shards, options.source.missing, options.source.name,
                                 options.allow_pipe);
  DataOptions data;
  data.sources = {options.source};
  data.index_dir = options.index_dir;
  data.allow_pipe = options.allow_pipe;
  const ShardAccess access(data);
  const std::vector<std::string> names = names_of(paths);
  const nlohmann::ordered_json provenance = {{"command", "data transcode"},
                                             {"shards", names},
                                             {"resize", options.resize},
                                             {"quality", options.resize > 0 ? options.quality : 0}};
  TranscodeReport report;
  std::mutex mutex;
  const NamedShardsReport written = write_named_shards(
      {options.out, names, options.threads, provenance.dump()},
      [&](std::int64_t i, const std::function<void(std::string_view)>& sink) {
        TranscodeReport part;
        const std::int64_t samples =
            ShardTranscoder(options).run(paths[static_cast<std::size_t>(i)], access, sink, part);
        const std::lock_guard lock(mutex);
        add(part, report);
        return samples;
      },
      progress);
  report.shards = std::ssize(paths);
  report.finished_before = written.kept;
  if (report.messages.size() > kMessages) report.messages.resize(kMessages);
  return report;
}

}  // namespace plumbline
