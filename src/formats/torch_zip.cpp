#include "formats/torch_zip.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "formats/zip_file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

struct StorageType {
  const char* name;
  at::ScalarType type;
};
constexpr std::array<StorageType, 10> kTypes = {{{"torch.DoubleStorage", at::kDouble},
                                                 {"torch.FloatStorage", at::kFloat},
                                                 {"torch.HalfStorage", at::kHalf},
                                                 {"torch.BFloat16Storage", at::kBFloat16},
                                                 {"torch.LongStorage", at::kLong},
                                                 {"torch.IntStorage", at::kInt},
                                                 {"torch.ShortStorage", at::kShort},
                                                 {"torch.CharStorage", at::kChar},
                                                 {"torch.ByteStorage", at::kByte},
                                                 {"torch.BoolStorage", at::kBool}}};

at::ScalarType type_of(const std::string& name) {
  for (const StorageType& known : kTypes) {
    if (name == known.name) return known.type;
  }
  throw DataError(str("storages of type '", name, "' are not read"));
}

/// The folder inside the archive that everything stands in, with its slash.
std::string folder_of(const std::vector<std::string>& names, const std::string& path) {
  constexpr std::string_view kPickle = "/data.pkl";
  for (const std::string& name : names) {
    if (name.ends_with(kPickle) && name.find('/') == name.size() - kPickle.size()) {
      return name.substr(0, name.find('/') + 1);
    }
  }
  throw DataError(str(path, ": no record data.pkl: a zip archive, but not of torch.save"));
}

void refuse_old_format(const std::string& path) {
  if (is_zip(path)) return;
  throw DataError(str(path,
                      " at byte 0: no zip archive; files that torch saved before its version ",
                      "1.6 must be loaded and saved again with torch"));
}

/// Tensors over the records; a record that several tensors share is one storage.
class Storages {
 public:
  Storages(const std::map<std::string, ZipBytes>& records, std::string prefix)
      : records_(records), prefix_(std::move(prefix)) {}

  [[nodiscard]] at::Tensor get(const std::string& type_name, const std::string& key,
                               std::int64_t count) const {
    const at::ScalarType type = type_of(type_name);
    const auto record = records_.find(prefix_ + key);
    if (record == records_.end()) throw DataError(str("no record '", prefix_, key, "'"));
    const ZipBytes& bytes = record->second;
    const auto element = static_cast<std::int64_t>(c10::elementSize(type));
    if (count > static_cast<std::int64_t>(bytes->size()) / element) {
      throw DataError(str("record '", prefix_, key, "' has ", bytes->size(), " bytes, ", count,
                          " elements of ", element, " bytes are claimed"));
    }
    return at::from_blob(
        bytes->data(), {count}, [bytes](void*) {}, at::dtype(type));
  }

 private:
  const std::map<std::string, ZipBytes>& records_;
  std::string prefix_;
};

}  // namespace

bool is_torchscript(const std::string& path) {
  const std::vector<std::string> names = zip_names(path);
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.find("/code/") != std::string::npos || name.ends_with("/constants.pkl");
  });
}

Pickle read_torch_file(const std::string& path, PickleGlobals allowed) {
  refuse_old_format(path);
  const std::string folder = folder_of(zip_names(path), path);
  const auto records = read_zip(path, [&](const std::string& name) {
    return name == folder + "data.pkl" || name == folder + "byteorder" ||
           name.starts_with(folder + "data/");
  });
  if (const auto order = records.find(folder + "byteorder");
      order != records.end() && *order->second != "little") {
    throw DataError(str(path, ": byte order '", *order->second, "' is not read"));
  }
  const Storages storages(records, folder + "data/");
  const auto get = [&](const std::string& type, const std::string& key, std::int64_t count) {
    return storages.get(type, key, count);
  };
  return read_pickle(*records.at(folder + "data.pkl"), str(path, ": ", folder, "data.pkl"), allowed,
                     get);
}

NamedTensors tensors_of(const PickleValue& dict, const std::string& where) {
  NamedTensors tensors;
  if (dict.kind != PickleValue::Kind::dict) throw DataError(str(where, ": no dict of tensors"));
  for (const auto& [key, value] : dict.entries) {
    if (key->kind != PickleValue::Kind::text) {
      throw DataError(str(where, ": a key that is no text, in a dict of tensors"));
    }
    if (value->kind != PickleValue::Kind::tensor) {
      throw DataError(str(where, ": the entry '", key->text, "' is no tensor"));
    }
    tensors.emplace_back(key->text, value->tensor);
  }
  return tensors;
}

void TorchWriter::little(std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) pickle_ += static_cast<char>(value >> (8 * i) & 0xFF);
}

void TorchWriter::text(const std::string& value) {
  put("X");
  little(value.size(), 4);
  put(value);
}

void TorchWriter::integer(std::int64_t value) {
  const bool small = value >= std::numeric_limits<std::int32_t>::min() &&
                     value <= std::numeric_limits<std::int32_t>::max();
  put(small ? "J" : "\x8a\x08");
  little(static_cast<std::uint64_t>(value), small ? 4 : 8);
}

void TorchWriter::real(double value) {
  put("G");
  const auto bits = std::bit_cast<std::uint64_t>(value);
  for (int i = 7; i >= 0; --i) pickle_ += static_cast<char>(bits >> (8 * i) & 0xFF);
}

void TorchWriter::integers(at::IntArrayRef values) {
  put("(");
  for (const std::int64_t value : values) integer(value);
  put("t");
}

/// _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks); the storage by its
/// persistent id ("storage", type, key, device, number of elements).
void TorchWriter::tensor(const at::Tensor& value) {
  const at::Tensor plain = value.detach().cpu().contiguous();
  const auto* type = std::find_if(kTypes.begin(), kTypes.end(), [&](const StorageType& known) {
    return known.type == plain.scalar_type();
  });
  require(type != kTypes.end(), "a tensor of a dtype that torch files do not have");
  put("ctorch._utils\n_rebuild_tensor_v2\n((");
  text("storage");
  put("ctorch\n" + std::string(type->name).substr(sizeof("torch.") - 1) + "\n");
  text(std::to_string(storages_.size()));
  text("cpu");
  integer(plain.numel());
  put("tQ");
  integer(0);
  integers(plain.sizes());
  integers(plain.strides());
  boolean(false);
  put("ccollections\nOrderedDict\n)RtR");
  storages_.push_back(plain);
}

void TorchWriter::close(const std::string& path) {
  static constexpr std::string_view kOrder = "little", kVersion = "3\n";
  put(".");
  std::vector<ZipPart> parts = {{"archive/data.pkl", pickle_.data(), pickle_.size()},
                                {"archive/byteorder", kOrder.data(), kOrder.size()}};
  for (std::size_t i = 0; i < storages_.size(); ++i) {
    parts.push_back(
        {str("archive/data/", i), storages_[i].const_data_ptr(), storages_[i].nbytes()});
  }
  parts.push_back({"archive/version", kVersion.data(), kVersion.size()});
  write_zip(path, parts);
}

}  // namespace plumbline
