#include "formats/zip_file.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Reader = Handle<archive, archive_read_free>;
using Writer = Handle<archive, archive_write_free>;
using Entry = Handle<archive_entry, archive_entry_free>;

constexpr std::uintmax_t kMostExpansion = 64;
constexpr std::size_t kReadBlock = 1 << 20;

std::string reason_of(archive* zip) {
  const char* text = archive_error_string(zip);
  return text == nullptr ? "unknown reason" : text;
}

/// Only through the directory at the end, so that a truncated archive is never read in part.
Reader open_zip(const std::string& path) {
  std::error_code failed;
  const auto bytes = fs::file_size(path, failed);
  if (failed) throw DataError(str("cannot open ", path, ": ", failed.message()));
  Reader zip(archive_read_new());
  require(zip && archive_read_support_format_zip_seekable(zip.get()) == ARCHIVE_OK,
          "libarchive reads zip");
  if (archive_read_open_filename(zip.get(), path.c_str(), kReadBlock) != ARCHIVE_OK) {
    throw DataError(str(path, " at byte ", bytes,
                        ": no zip directory stands at the end: truncated, or no zip archive (",
                        reason_of(zip.get()), ")"));
  }
  return zip;
}

/// The next record, or null at the end.
archive_entry* next(archive* zip, const std::string& path) {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(zip, &entry);
  if (status == ARCHIVE_EOF) return nullptr;
  if (status != ARCHIVE_OK || archive_entry_pathname(entry) == nullptr) {
    throw DataError(str(path, " at byte ", archive_read_header_position(zip),
                        ": the zip directory is damaged: ", reason_of(zip)));
  }
  return entry;
}

ZipBytes read_record(archive* zip, const std::string& where, std::uintmax_t room) {
  auto bytes = std::make_shared<std::string>();
  std::size_t used = 0;
  while (true) {
    if (bytes->size() - used < kReadBlock) bytes->resize(bytes->size() * 3 / 2 + kReadBlock);
    const auto n = archive_read_data(zip, bytes->data() + used, bytes->size() - used);
    if (n < 0) {
      throw DataError(str(where, " at byte ", used, " of the record: ", reason_of(zip)));
    }
    used += static_cast<std::size_t>(n);
    if (used > room) throw DataError(str(where, ": unpacks to more than ", room, " bytes"));
    if (n == 0) break;
  }
  bytes->resize(used);
  return bytes;
}

/// Records of known size are read in one go.
ZipBytes read_sized(archive* zip, archive_entry* entry, const std::string& where,
                    std::uintmax_t room) {
  const auto size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
  if (size <= 0) return read_record(zip, where, room);
  if (static_cast<std::uintmax_t>(size) > room) {
    throw DataError(str(where, ": claims ", size, " bytes, more than ", room));
  }
  auto bytes = std::make_shared<std::string>(static_cast<std::size_t>(size), '\0');
  std::size_t used = 0;
  char beyond = 0;
  while (true) {
    const bool full = used == bytes->size();
    const auto n = full ? archive_read_data(zip, &beyond, 1)
                        : archive_read_data(zip, bytes->data() + used, bytes->size() - used);
    if (n < 0) {
      throw DataError(str(where, " at byte ", used, " of the record: ", reason_of(zip)));
    }
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
    if (full) break;
  }
  if (used != bytes->size()) {
    throw DataError(
        str(where, ": has not the ", bytes->size(), " bytes that the zip directory ", "says"));
  }
  return bytes;
}

void write_part(archive* zip, const ZipPart& part, const std::string& path) {
  const Entry entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), part.name.c_str());
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(part.bytes));
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  if (archive_write_header(zip, entry.get()) != ARCHIVE_OK) {
    throw Error(str("cannot write ", path, ": ", reason_of(zip)));
  }
  const auto* in = static_cast<const char*>(part.data);
  for (std::size_t done = 0; done < part.bytes;) {
    const auto n = archive_write_data(zip, in + done, part.bytes - done);
    if (n <= 0) throw Error(str("cannot write ", path, ": ", reason_of(zip)));
    done += static_cast<std::size_t>(n);
  }
}

void write_parts(const std::string& path, const std::vector<ZipPart>& parts) {
  const Handle<FILE, std::fclose> file(std::fopen(path.c_str(), "wb"));
  if (!file) throw Error(str("cannot create ", path, ": ", std::strerror(errno)));
  const Writer zip(archive_write_new());
  const bool ready = zip && archive_write_set_format_zip(zip.get()) == ARCHIVE_OK &&
                     archive_write_zip_set_compression_store(zip.get()) == ARCHIVE_OK &&
                     archive_write_set_bytes_in_last_block(zip.get(), 1) == ARCHIVE_OK &&
                     archive_write_open_FILE(zip.get(), file.get()) == ARCHIVE_OK;
  if (!ready) throw Error(str("cannot write ", path, ": ", reason_of(zip.get())));
  for (const ZipPart& part : parts) write_part(zip.get(), part, path);
  if (archive_write_close(zip.get()) != ARCHIVE_OK) {
    throw Error(str("cannot write ", path, ": ", reason_of(zip.get())));
  }
  if (std::fflush(file.get()) != 0 || ::fsync(::fileno(file.get())) != 0) {
    throw Error(str("cannot write ", path, ": ", std::strerror(errno)));
  }
}

}  // namespace

bool is_zip(const std::string& path) {
  const Handle<FILE, std::fclose> file(std::fopen(path.c_str(), "rb"));
  std::array<char, 4> magic{};
  return file && std::fread(magic.data(), 1, magic.size(), file.get()) == magic.size() &&
         std::memcmp(magic.data(), "PK\x03\x04", magic.size()) == 0;
}

std::vector<std::string> zip_names(const std::string& path) {
  const Reader zip = open_zip(path);
  std::vector<std::string> names;
  while (archive_entry* entry = next(zip.get(), path)) {
    names.emplace_back(archive_entry_pathname(entry));
  }
  return names;
}

std::map<std::string, ZipBytes> read_zip(const std::string& path,
                                         const std::function<bool(const std::string&)>& wanted) {
  const Reader zip = open_zip(path);
  std::uintmax_t room = fs::file_size(path) * kMostExpansion;
  std::map<std::string, ZipBytes> records;
  while (archive_entry* entry = next(zip.get(), path)) {
    const std::string name = archive_entry_pathname(entry);
    if (!wanted(name)) continue;
    const std::string where =
        str(path, " at byte ", archive_read_header_position(zip.get()), ": record '", name, "'");
    ZipBytes bytes = read_sized(zip.get(), entry, where, room);
    room -= bytes->size();
    if (!records.emplace(name, std::move(bytes)).second) {
      throw DataError(str(where, " stands twice"));
    }
  }
  return records;
}

void write_zip(const std::string& path, const std::vector<ZipPart>& parts) {
  const std::string temporary = path + ".tmp";
  try {
    write_parts(temporary, parts);
    fs::rename(temporary, path);
  } catch (const fs::filesystem_error& e) {
    ::unlink(temporary.c_str());
    throw Error(str("cannot rename ", temporary, ": ", e.code().message()));
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(fs::absolute(path).parent_path().string());
}

}  // namespace plumbline
