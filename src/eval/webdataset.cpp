// The folder layout of LAION-AI/CLIP_benchmark: SPLIT/nshards.txt, SPLIT/{0..n-1}.tar,
// classnames.txt, zeroshot_classification_templates.txt, dataset_type.txt.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/file.h"
#include "data/tar_reader.h"
#include "eval/layouts.h"
#include "eval/multilabel.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> parse_integer(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return std::nullopt;
  const auto last = text.find_last_not_of(" \t\r\n") + 1;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + first, text.data() + last, value);
  if (error != std::errc() || end != text.data() + last) return std::nullopt;
  return value;
}

/// The key is the path up to the first dot of the file name, the suffix what follows.
std::pair<std::string, std::string> split_member(const std::string& name) {
  const auto slash = name.rfind('/');
  const auto dot = name.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return {name, ""};
  std::string suffix = name.substr(dot + 1);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return {name.substr(0, dot), suffix};
}

bool is_image_suffix(const std::string& suffix) {
  return suffix == "webp" || suffix == "png" || suffix == "jpg" || suffix == "jpeg";
}

constexpr std::uint64_t kLongestLabel = 64;
constexpr std::uint64_t kLongestText = 1 << 20;

std::string read_text(const ByteSource& shard, const Member& member, std::uint64_t longest) {
  std::string text(static_cast<std::size_t>(std::min(member.size, longest)), '\0');
  const std::span<std::uint8_t> bytes(reinterpret_cast<std::uint8_t*>(text.data()), text.size());
  text.resize(shard.read_at(member.data_offset, bytes));
  return text;
}

std::int64_t shard_count(const fs::path& folder) {
  const fs::path file = folder / "nshards.txt";
  if (!fs::exists(file)) {
    throw UsageError(str("no file ", file.string(), ": not a folder in CLIP_benchmark's layout"));
  }
  const std::optional<std::int64_t> count = parse_integer(read_file(file.string()));
  if (!count || *count < 1) {
    throw DataError(str(file.string(), ": the number of shards must be a positive integer"));
  }
  return *count;
}

}  // namespace

void visit_shard(const std::string& path, const std::function<void(const ShardSample&)>& visit) {
  const FileBytes shard(path);
  TarReader reader(shard);
  ShardSample sample;
  bool open = false;
  while (const std::optional<Member> member = reader.next()) {
    if (!member->regular) continue;
    auto [key, suffix] = split_member(member->name);
    if (open && key != sample.key) visit(sample);
    if (!open || key != sample.key) sample = {key, {}, std::nullopt, std::nullopt, std::nullopt};
    open = true;
    if (suffix == "cls") sample.label = read_text(shard, *member, kLongestLabel);
    if (suffix == "npy") sample.array = read_text(shard, *member, kLongestText);
    if (suffix == "txt") sample.text = read_text(shard, *member, kLongestText);
    if (is_image_suffix(suffix) && sample.image.bytes < 0) {
      sample.image = {key, path, static_cast<std::int64_t>(member->data_offset),
                      static_cast<std::int64_t>(member->size)};
    }
  }
  if (open) visit(sample);
}

namespace {

/// A folder without the file is of the type classification.
void check_type(const fs::path& root, const std::string& kind) {
  const fs::path file = root / "dataset_type.txt";
  std::string type = "classification";
  if (fs::exists(file)) {
    const std::vector<std::string> lines = read_lines(file.string(), "the type of the set");
    if (!lines.empty()) type = lines[0];
  }
  const bool own = kind == "retrieval" || kind == "multilabel";
  const std::string wanted = own ? kind : "classification";
  if (type != wanted) {
    throw UsageError(str(file.string(), ": the set is of type '", type, "', which the kind ", kind,
                         " cannot score"));
  }
}

/// The samples of a split; `where` opens messages about them.
void visit_split(const fs::path& folder,
                 const std::function<void(const ShardSample&, const std::string& where)>& visit) {
  const std::int64_t shards = shard_count(folder);
  for (std::int64_t i = 0; i < shards; ++i) {
    const std::string path = (folder / str(i, ".tar")).string();
    if (!fs::exists(path)) {
      throw DataError(str("no shard ", path, ", but nshards.txt says ", shards));
    }
    visit_shard(path, [&](const ShardSample& sample) {
      const std::string where = str(path, ": sample '", sample.key, "' ");
      if (sample.image.bytes < 0) throw DataError(where + "has no image (webp, png, jpg, jpeg)");
      visit(sample, where);
    });
  }
}

/// Captions stand one a line; a newline inside one is written as backslash and n.
std::vector<std::string> split_captions(const std::string& text) {
  std::vector<std::string> captions;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    for (auto at = line.find("\\n"); at != std::string::npos; at = line.find("\\n", at + 1)) {
      line.replace(at, 2, "\n");
    }
    captions.push_back(std::move(line));
  }
  return captions;
}

Listing list_captions(const fs::path& folder) {
  Listing listing;
  visit_split(folder, [&](const ShardSample& sample, const std::string& where) {
    listing.items.push_back(sample.image);
    listing.captions.push_back(split_captions(sample.text.value_or("")));
    if (listing.captions.back().empty()) throw DataError(where + "has no caption (.txt)");
  });
  return listing;
}

}  // namespace

Listing list_webdataset(const EvalSetOptions& options, const std::string&) {
  const fs::path root = options.path;
  check_type(root, options.kind);
  if (options.kind == "retrieval") return list_captions(root / options.split);
  Listing listing;
  listing.class_names = read_lines(
      options.names.empty() ? (root / "classnames.txt").string() : options.names, "class names");
  const fs::path templates = root / "zeroshot_classification_templates.txt";
  if (fs::exists(templates)) listing.templates = read_lines(templates.string(), "templates");
  visit_split(root / options.split, [&](const ShardSample& sample, const std::string& where) {
    if (options.kind == "multilabel") {
      if (!sample.array) throw DataError(where + "has no label (.npy)");
      listing.items.push_back(sample.image);
      listing.labels.push_back(
          read_multi_hot(*sample.array, std::ssize(listing.class_names), where));
      return;
    }
    if (!sample.label) throw DataError(where + "has no label (.cls)");
    const std::optional<std::int64_t> label = parse_integer(*sample.label);
    if (!label || *label < 0 || *label >= std::ssize(listing.class_names)) {
      throw DataError(str(where, "has the label '", *sample.label, "', but there are ",
                          listing.class_names.size(), " classes"));
    }
    listing.items.push_back(sample.image);
    listing.targets.push_back(static_cast<std::int32_t>(*label));
  });
  return listing;
}

}  // namespace plumbline
