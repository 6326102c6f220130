// Zip archives: what torch.save, torch.jit.save and numpy.savez write.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace plumbline {

/// Bytes of one record; tensors made of it share them.
using ZipBytes = std::shared_ptr<std::string>;

/// Whether the file begins as a zip archive does.
[[nodiscard]] bool is_zip(const std::string& path);

/// Names of all records, in the archive's order. Throws DataError naming the file.
[[nodiscard]] std::vector<std::string> zip_names(const std::string& path);

/// The records that `wanted` accepts. Throws DataError naming file, record and byte for a truncated
/// archive, a wrong checksum, a name that stands twice, or contents that unpack to more than 64
/// times the file.
[[nodiscard]] std::map<std::string, ZipBytes> read_zip(
    const std::string& path, const std::function<bool(const std::string&)>& wanted);

/// A record to be written; the bytes belong to the caller.
struct ZipPart {
  std::string name;
  const void* data;
  std::size_t bytes;
};

/// Writes PATH.tmp uncompressed, fsyncs it and renames it. Throws Error naming the path.
void write_zip(const std::string& path, const std::vector<ZipPart>& parts);

}  // namespace plumbline
