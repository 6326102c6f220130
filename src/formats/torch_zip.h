// The zip files of torch.save and torch.jit.save: a pickle whose storages are records beside it.
#pragma once

#include <string>
#include <vector>

#include "formats/pickle.h"
#include "plumbline/model.h"

namespace plumbline {

/// Whether a zip archive holds code, as torch.jit.save writes it.
[[nodiscard]] bool is_torchscript(const std::string& path);

/// The pickle of the file with its tensors in the dtype of the file (float64, float32, float16,
/// bfloat16, integers, bool). Throws DataError naming file, record and byte: no such archive,
/// truncated, another byte order, a pickle of more than `allowed`.
[[nodiscard]] Pickle read_torch_file(const std::string& path, PickleGlobals allowed);

/// A dict from names to tensors. Throws DataError naming `where` and the first entry that is
/// something else.
[[nodiscard]] NamedTensors tensors_of(const PickleValue& dict, const std::string& where);

/// Writes a file that `torch.load(PATH, weights_only=True)` reads: calls in the order of the data,
/// then close().
class TorchWriter {
 public:
  void begin_dict() { put("}("); }
  void end_dict() { put("u"); }
  void begin_list() { put("]("); }
  void end_list() { put("e"); }
  void begin_tuple() { put("("); }
  void end_tuple() { put("t"); }
  void text(const std::string& value);
  void integer(std::int64_t value);
  void real(double value);
  void boolean(bool value) { put(value ? "\x88" : "\x89"); }
  void none() { put("N"); }
  void tensor(const at::Tensor& value);
  /// Throws Error naming the path; writes the whole file or none.
  void close(const std::string& path);

 private:
  void put(const std::string& bytes) { pickle_ += bytes; }
  void little(std::uint64_t value, int bytes);
  void integers(at::IntArrayRef values);

  std::string pickle_ = "\x80\x02";
  std::vector<at::Tensor> storages_;
};

}  // namespace plumbline
