// The safetensors format: u64 little-endian length n, n bytes of JSON {name: {dtype, shape,
// data_offsets}, __metadata__}, then the tensors' bytes without gaps.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/model.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t kPrefixBytes = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // of the reference implementation

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr std::array<TypeName, 7> kTypes = {{{"F64", at::kDouble},
                                             {"F32", at::kFloat},
                                             {"BF16", at::kBFloat16},
                                             {"F16", at::kHalf},
                                             {"I64", at::kLong},
                                             {"I32", at::kInt},
                                             {"U8", at::kByte}}};

std::string reason() { return std::strerror(errno); }

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

void read_at(int fd, void* data, std::int64_t bytes, std::int64_t offset, const std::string& path) {
  auto* out = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::pread(fd, out, static_cast<std::size_t>(bytes), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      throw DataError(str("cannot read ", path, " at byte ", offset, ": ",
                          n == 0 ? "the file ends" : reason()));
    }
    out += n;
    offset += n;
    bytes -= n;
  }
}

/// One tensor of a header, offsets from the end of the header.
struct Entry {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;
};

/// Throws DataError at a byte of the file.
class HeaderReader {
 public:
  HeaderReader(const std::string& path, const std::string& text, std::int64_t data_bytes)
      : path_(path), text_(text), data_bytes_(data_bytes) {}

  /// Entries in the header's order; fills `metadata`.
  [[nodiscard]] std::vector<Entry> read(TensorFile& file) const;

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& problem) const;
  [[nodiscard]] Json parse() const;
  [[nodiscard]] Entry read_entry(const std::string& name, const Json& json) const;
  void check_layout(std::vector<Entry> entries) const;

  const std::string& path_;
  const std::string& text_;
  std::int64_t data_bytes_;
};

/// The byte is where the header names the tensor.
void HeaderReader::fail(const std::string& name, const std::string& problem) const {
  const std::size_t at = text_.find(Json(name).dump());
  const std::int64_t byte =
      kPrefixBytes + (at == std::string::npos ? 0 : static_cast<std::int64_t>(at));
  throw DataError(str(path_, " at byte ", byte, ": tensor '", name, "' ", problem));
}

Json HeaderReader::parse() const {
  std::vector<std::set<std::string>> keys;
  const auto refuse_twins = [&](int /*depth*/, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto key = parsed.get<std::string>();
      if (!keys.back().insert(key).second) fail(key, "stands twice in the header");
    }
    return true;
  };
  try {
    Json json = Json::parse(text_, refuse_twins);
    if (json.is_object()) return json;
  } catch (const Json::parse_error& e) {
    throw DataError(str(path_, " at byte ", kPrefixBytes + static_cast<std::int64_t>(e.byte),
                        ": the header is no JSON"));
  }
  throw DataError(str(path_, " at byte ", kPrefixBytes, ": the header is no JSON object"));
}

bool is_count(const Json& json) {
  return json.is_number_integer() && (json.is_number_unsigned() || json.get<std::int64_t>() >= 0) &&
         json.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max();
}

Entry HeaderReader::read_entry(const std::string& name, const Json& json) const {
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets")) {
    fail(name, "needs exactly dtype, shape and data_offsets");
  }
  Entry entry;
  entry.name = name;
  const auto* type = std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& t) {
    return json["dtype"].is_string() && json["dtype"] == t.name;
  });
  if (type == kTypes.end()) fail(name, str("has the unsupported dtype ", json["dtype"].dump()));
  entry.type = type->type;
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !is_count(offsets[0]) ||
      !is_count(offsets[1])) {
    fail(name, str("has the data_offsets ", offsets.dump(), ", not two byte counts"));
  }
  entry.begin = offsets[0].get<std::int64_t>();
  entry.end = offsets[1].get<std::int64_t>();
  if (!json["shape"].is_array()) fail(name, "has a shape that is no list");
  auto bytes = static_cast<std::int64_t>(c10::elementSize(entry.type));
  for (const Json& extent : json["shape"]) {
    if (!is_count(extent)) fail(name, str("has the shape ", json["shape"].dump()));
    entry.shape.push_back(extent.get<std::int64_t>());
    if (__builtin_mul_overflow(bytes, entry.shape.back(), &bytes)) {
      fail(name, str("is too large with shape ", json["shape"].dump()));
    }
  }
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    fail(name, str("has ", bytes, " bytes by dtype and shape, but offsets ", offsets.dump()));
  }
  if (entry.end > data_bytes_) {
    fail(name, str("ends at byte ", kPrefixBytes + std::ssize(text_) + entry.end,
                   ", but the file at byte ", kPrefixBytes + std::ssize(text_) + data_bytes_,
                   ": it is truncated"));
  }
  return entry;
}

/// In the order of their offsets the tensors must follow each other without overlap or gap.
void HeaderReader::check_layout(std::vector<Entry> entries) const {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::int64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      fail(entry.name, str("begins at data byte ", entry.begin,
                           entry.begin < expected ? ", inside" : ", with a gap to",
                           " the tensor before it, which ends at ", expected));
    }
    expected = entry.end;
  }
  if (expected != data_bytes_) {
    throw DataError(str(path_, " at byte ", kPrefixBytes + std::ssize(text_) + expected, ": ",
                        data_bytes_ - expected, " bytes belong to no tensor"));
  }
}

std::vector<Entry> HeaderReader::read(TensorFile& file) const {
  const Json json = parse();
  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      entries.push_back(read_entry(name, value));
      continue;
    }
    if (!value.is_object()) fail(name, "is no object of texts");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail(name, str("has under '", key, "' a value that is no text"));
      file.metadata.emplace_back(key, text.get<std::string>());
    }
  }
  check_layout(entries);
  return entries;
}

std::string read_header(int fd, std::int64_t file_bytes, const std::string& path) {
  if (file_bytes < kPrefixBytes) {
    throw DataError(
        str(path, " at byte ", file_bytes, ": the file ends within the length of its ", "header"));
  }
  std::array<unsigned char, kPrefixBytes> prefix{};
  read_at(fd, prefix.data(), kPrefixBytes, 0, path);
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < prefix.size(); ++i) length |= std::uint64_t{prefix[i]} << (8 * i);
  const auto room = static_cast<std::uint64_t>(file_bytes - kPrefixBytes);
  if (length > room || length > kMaxHeaderBytes) {
    throw DataError(str(path, " at byte 0: the header claims ", length, " bytes, the file has ",
                        room, " after its length: truncated, or no safetensors file"));
  }
  std::string text(length, '\0');
  read_at(fd, text.data(), static_cast<std::int64_t>(length), kPrefixBytes, path);
  return text;
}

// Writing.

const char* name_of(at::ScalarType type, const std::string& tensor) {
  for (const TypeName& t : kTypes) {
    if (t.type == type) return t.name;
  }
  throw InternalError(str("safetensors: '", tensor, "' has a dtype that is not written"));
}

/// Wider elements first, so that every tensor is aligned; else in the given order.
std::vector<const std::pair<std::string, at::Tensor>*> file_order(const NamedTensors& tensors) {
  std::vector<const std::pair<std::string, at::Tensor>*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->second.element_size() > b->second.element_size();
  });
  return order;
}

std::string make_header(const TensorFile& file) {
  std::map<std::string, std::int64_t> begin;
  std::int64_t offset = 0;
  for (const auto* item : file_order(file.tensors)) {
    if (!begin.emplace(item->first, offset).second) {
      throw InternalError(str("safetensors: two tensors are called '", item->first, "'"));
    }
    offset += static_cast<std::int64_t>(item->second.nbytes());
  }
  Json json = Json::object();
  for (const auto& [key, text] : file.metadata) json["__metadata__"][key] = text;
  json["__metadata__"]["format"] = "pt";
  for (const auto& [name, tensor] : file.tensors) {
    json[name] = {
        {"dtype", name_of(tensor.scalar_type(), name)},
        {"shape", tensor.sizes().vec()},
        {"data_offsets", {begin[name], begin[name] + static_cast<std::int64_t>(tensor.nbytes())}}};
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

void write_all(int fd, const void* data, std::size_t bytes, const std::string& path) {
  const auto* in = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd, in, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(str("cannot write ", path, ": ", reason()));
    in += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void write_content(const std::string& path, const TensorFile& file) {
  const std::string header = make_header(file);
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (fd.get() < 0) throw Error(str("cannot create ", path, ": ", reason()));
  std::array<unsigned char, kPrefixBytes> prefix{};
  for (std::size_t i = 0; i < prefix.size(); ++i) {
    prefix[i] = static_cast<unsigned char>(header.size() >> (8 * i));
  }
  write_all(fd.get(), prefix.data(), prefix.size(), path);
  write_all(fd.get(), header.data(), header.size(), path);
  for (const auto* item : file_order(file.tensors)) {
    const at::Tensor tensor = item->second.detach().cpu().contiguous();
    write_all(fd.get(), tensor.const_data_ptr(), tensor.nbytes(), path);
  }
  if (::fsync(fd.get()) != 0) throw Error(str("cannot sync ", path, ": ", reason()));
}

}  // namespace

TensorFile read_safetensors(const std::string& path) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) throw DataError(str("cannot open ", path, ": ", reason()));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throw DataError(str("cannot read ", path, ": ", reason()));
  const std::string header = read_header(fd.get(), status.st_size, path);
  const std::int64_t data = kPrefixBytes + std::ssize(header);
  TensorFile file;
  for (const Entry& entry : HeaderReader(path, header, status.st_size - data).read(file)) {
    at::Tensor tensor = at::empty(entry.shape, entry.type);
    read_at(fd.get(), tensor.data_ptr(), entry.end - entry.begin, data + entry.begin, path);
    file.tensors.emplace_back(entry.name, tensor);
  }
  return file;
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  const std::string temporary = path + ".tmp";
  try {
    write_content(temporary, file);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) {
      throw Error(str("cannot rename ", temporary, " to ", path, ": ", reason()));
    }
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(std::filesystem::path(path).parent_path().string());
}

}  // namespace plumbline
