// Python's pickle format, protocol 2, as data alone: tensors and plain containers. Nothing of a
// file is ever called; a pickle that asks for anything else is refused by name.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace plumbline {

struct PickleValue {
  enum class Kind {
    none,
    boolean,
    integer,
    real,
    text,
    tuple,
    list,
    dict,
    global,
    storage,
    tensor
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  ///< boolean, integer
  double real = 0;
  std::string text;                                            ///< text; global: "module.name"
  std::vector<PickleValue*> items;                             ///< tuple, list
  std::vector<std::pair<PickleValue*, PickleValue*>> entries;  ///< dict, and state of an object
  at::Tensor tensor;  ///< storage (one dimension), tensor (strides as in the file)

  /// The value under a text key of a dict, the last one; null when there is none.
  [[nodiscard]] const PickleValue* find(const std::string& key) const;
  /// The number as a double; `otherwise` for anything that is no number.
  [[nodiscard]] double number(double otherwise) const;
};

/// Owns the values; they refer to each other.
class Pickle {
 public:
  Pickle() = default;
  Pickle(Pickle&&) = default;
  Pickle& operator=(Pickle&&) = default;
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;
  [[nodiscard]] const PickleValue& root() const { return *root_; }

 private:
  friend class PickleReader;
  std::deque<PickleValue> values_;
  PickleValue* root_ = nullptr;
};

/// Which names of Python a pickle may use.
enum class PickleGlobals {
  tensors,  ///< OrderedDict, torch.Size, tensors, parameters, storages
  modules   ///< those, and `__torch__.*` objects of TorchScript: their attributes, as a dict
};

/// The one-dimensional tensor of a storage: type ("torch.FloatStorage"), key, number of elements.
using StorageOf =
    std::function<at::Tensor(const std::string& type, const std::string& key, std::int64_t count)>;

/// Throws DataError "WHERE at byte N: ..." for another opcode, a name that is not allowed, a tensor
/// outside its storage, a truncated pickle.
[[nodiscard]] Pickle read_pickle(const std::string& bytes, const std::string& where,
                                 PickleGlobals allowed, const StorageOf& storage_of);

}  // namespace plumbline
