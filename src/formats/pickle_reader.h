// The machine behind read_pickle(): opcodes in pickle.cpp, what they build in pickle_objects.cpp.
#pragma once

#include <bit>
#include <string>
#include <vector>

#include "formats/pickle.h"
#include "plumbline/error.h"

namespace plumbline {

/// A stack machine; each opcode is one case of one_opcode() and what it calls.
class PickleReader {
 public:
  using Value = PickleValue;
  using Kind = PickleValue::Kind;

  PickleReader(const std::string& bytes, const std::string& where, PickleGlobals allowed,
               const StorageOf& storage_of)
      : bytes_(bytes), where_(where), allowed_(allowed), storage_of_(storage_of) {}

  Pickle read() {
    while (one_opcode()) {
    }
    return std::move(pickle_);
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw DataError(str(where_, " at byte ", opcode_at_, ": ", problem));
  }
  void need(bool condition, const char* problem) const {
    if (!condition) fail(problem);
  }

  // Bytes.
  const char* take(std::size_t n) {
    if (bytes_.size() - at_ < n) fail("the pickle ends within an opcode: truncated");
    at_ += n;
    return bytes_.data() + at_ - n;
  }
  std::uint64_t little(std::size_t n) {
    const char* in = take(n);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < n; ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
    }
    return value;
  }
  double big_endian_double() {
    const char* in = take(8);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(in[i]);
    return std::bit_cast<double>(value);
  }
  std::string line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string::npos) fail("the pickle ends within a name: truncated");
    std::string text = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  // Stack.
  Value& push(Kind kind) {
    Value& value = pickle_.values_.emplace_back();
    value.kind = kind;
    stack_.push_back(&value);
    return value;
  }
  Value& pop() {
    need(stack_.size() > floor(), "the stack is empty");
    Value& value = *stack_.back();
    stack_.pop_back();
    return value;
  }
  Value& top() {
    need(stack_.size() > floor(), "the stack is empty");
    return *stack_.back();
  }
  [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<Value*> pop_to_mark() {
    need(!marks_.empty(), "there is no mark");
    std::vector<Value*> values(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                               stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }

  bool one_opcode();
  bool push_constant(unsigned char opcode);
  bool push_container(unsigned char opcode);
  bool fill_container(unsigned char opcode);
  bool use_memo(unsigned char opcode);
  void push_integer(std::int64_t value) { push(Kind::integer).integer = value; }
  void push_long(std::uint64_t size);
  void push_text(std::uint64_t size) { push(Kind::text).text = std::string(take(size), size); }
  void push_tuple(std::size_t size);
  void append(Value& list, const std::vector<Value*>& values);
  void set_items(Value& dict, const std::vector<Value*>& values);
  void push_global();
  void reduce();
  void new_object();
  void build();
  void count_copies(std::size_t entries);
  void persistent_id();
  void call_ordered_dict(const Value& arguments);
  void call_rebuild_tensor(const Value& arguments);
  std::vector<std::int64_t> integers(const Value& tuple) const;
  void check_extent(const std::vector<std::int64_t>& sizes,
                    const std::vector<std::int64_t>& strides, std::int64_t offset,
                    std::int64_t count) const;

  const std::string& bytes_;
  const std::string& where_;
  PickleGlobals allowed_;
  const StorageOf& storage_of_;
  std::size_t at_ = 0, opcode_at_ = 0, copies_ = 0;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::vector<Value*> memo_;
  Pickle pickle_;
};

}  // namespace plumbline
