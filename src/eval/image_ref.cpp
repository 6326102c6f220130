// Where an image's bytes are, for sets and for lists of images.
#include <algorithm>
#include <filesystem>

#include "data/byte_source.h"
#include "data/shard_list.h"
#include "eval/layouts.h"
#include "plumbline/error.h"

namespace plumbline {

std::vector<std::uint8_t> read_image_bytes(const ImageRef& image) {
  const FileBytes file(image.file);
  const std::uint64_t size =
      image.bytes < 0 ? file.size() : static_cast<std::uint64_t>(image.bytes);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  if (file.read_at(static_cast<std::uint64_t>(image.offset), bytes) != bytes.size()) {
    throw DataError(str(image.file, ": image '", image.key, "' ends before its ", size,
                        " bytes: the file was cut or changed"));
  }
  return bytes;
}

std::vector<ImageRef> list_images(const std::string& list_or_shards) {
  std::vector<ImageRef> images;
  if (std::filesystem::path(list_or_shards).extension() == ".txt") {
    for (const std::string& line : read_lines(list_or_shards, "the list of images")) {
      if (!line.empty()) images.push_back({line, line});
    }
  } else {
    for (const std::string& shard : list_shards({list_or_shards}, "error", "--images")) {
      visit_shard(shard, [&](const ShardSample& sample) {
        if (sample.image.bytes < 0) {
          throw DataError(str(shard, ": sample '", sample.key, "' has no image"));
        }
        images.push_back(sample.image);
      });
    }
  }
  if (images.empty()) throw DataError(str(list_or_shards, ": no image in it"));
  return images;
}

}  // namespace plumbline
