// Whole files: read, write atomically, SHA-256.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plumbline {

/// Throws DataError naming the path and the system's reason.
[[nodiscard]] std::string read_file(const std::string& path);

/// Writes PATH.tmp, fsyncs it, renames it to PATH and fsyncs the folder: readers see the old file
/// or the new one, never half. Throws Error naming the path and the system's reason; PATH.tmp is
/// removed then.
void write_file_atomically(const std::string& path, std::string_view content);

/// fsync of the folder `path`, so that renames inside it survive a power cut.
void sync_folder(const std::string& path);

/// Lower-case hexadecimal digest.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace plumbline
