// Opcodes of pickles.
#include "formats/pickle.h"

#include "formats/pickle_reader.h"

namespace plumbline {

const PickleValue* PickleValue::find(const std::string& key) const {
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    if (it->first->kind == Kind::text && it->first->text == key) return it->second;
  }
  return nullptr;
}

double PickleValue::number(double otherwise) const {
  if (kind == Kind::real) return real;
  return kind == Kind::integer ? static_cast<double>(integer) : otherwise;
}

bool PickleReader::one_opcode() {
  opcode_at_ = at_;
  const auto opcode = static_cast<unsigned char>(*take(1));
  if (push_constant(opcode) || push_container(opcode) || fill_container(opcode) ||
      use_memo(opcode)) {
    return true;
  }
  switch (opcode) {
    case 0x80:  // PROTO
      if (const auto version = little(1); version != 2) {
        fail(str("pickle protocol ", version, "; torch.save writes 2"));
      }
      return true;
    case '(':
      marks_.push_back(stack_.size());
      return true;  // MARK
    case '0':
      (void)pop();
      return true;  // POP
    case 'c':
      push_global();
      return true;  // GLOBAL
    case 'R':
      reduce();
      return true;  // REDUCE
    case 0x81:
      new_object();
      return true;  // NEWOBJ
    case 'b':
      build();
      return true;  // BUILD
    case 'Q':
      persistent_id();
      return true;  // BINPERSID
    case '.':       // STOP
      pickle_.root_ = &pop();
      return false;
    default:
      fail(str("the opcode ", static_cast<int>(opcode), " is not one of plain data"));
  }
}

bool PickleReader::push_constant(unsigned char opcode) {
  switch (opcode) {
    case 'N':
      (void)push(Kind::none);
      return true;
    case 0x88:
      push(Kind::boolean).integer = 1;
      return true;  // NEWTRUE
    case 0x89:
      (void)push(Kind::boolean);
      return true;  // NEWFALSE
    case 'J':
      push_integer(static_cast<std::int32_t>(little(4)));
      return true;  // BININT
    case 'K':
      push_integer(static_cast<std::int64_t>(little(1)));
      return true;
    case 'M':
      push_integer(static_cast<std::int64_t>(little(2)));
      return true;
    case 0x8a:
      push_long(little(1));
      return true;  // LONG1
    case 'G':
      push(Kind::real).real = big_endian_double();
      return true;
    case 'X':
      push_text(little(4));
      return true;  // BINUNICODE
    case 'T':
      push_text(little(4));
      return true;  // BINSTRING
    case 'U':
      push_text(little(1));
      return true;  // SHORT_BINSTRING
    default:
      return false;
  }
}

bool PickleReader::push_container(unsigned char opcode) {
  switch (opcode) {
    case ']':
      (void)push(Kind::list);
      return true;
    case '}':
      (void)push(Kind::dict);
      return true;
    case ')':
      (void)push(Kind::tuple);
      return true;
    case 0x85:
      push_tuple(1);
      return true;
    case 0x86:
      push_tuple(2);
      return true;
    case 0x87:
      push_tuple(3);
      return true;
    case 't': {  // TUPLE
      std::vector<Value*> items = pop_to_mark();
      push(Kind::tuple).items = std::move(items);
      return true;
    }
    case 'l': {  // LIST
      std::vector<Value*> items = pop_to_mark();
      push(Kind::list).items = std::move(items);
      return true;
    }
    case 'd': {  // DICT
      const std::vector<Value*> items = pop_to_mark();
      set_items(push(Kind::dict), items);
      return true;
    }
    default:
      return false;
  }
}

bool PickleReader::fill_container(unsigned char opcode) {
  switch (opcode) {
    case 'a': {  // APPEND
      Value& item = pop();
      append(top(), {&item});
      return true;
    }
    case 'e': {  // APPENDS
      const std::vector<Value*> items = pop_to_mark();
      append(top(), items);
      return true;
    }
    case 's': {  // SETITEM
      Value& value = pop();
      Value& key = pop();
      set_items(top(), {&key, &value});
      return true;
    }
    case 'u': {  // SETITEMS
      const std::vector<Value*> items = pop_to_mark();
      set_items(top(), items);
      return true;
    }
    default:
      return false;
  }
}

bool PickleReader::use_memo(unsigned char opcode) {
  switch (opcode) {
    case 'q':
    case 'r': {  // BINPUT, LONG_BINPUT
      const auto index = little(opcode == 'q' ? 1 : 4);
      need(index <= bytes_.size(), "a memo number is larger than the pickle");
      if (memo_.size() <= index) memo_.resize(index + 1, nullptr);
      memo_[index] = &top();
      return true;
    }
    case 'h':
    case 'j': {  // BINGET, LONG_BINGET
      const auto index = little(opcode == 'h' ? 1 : 4);
      need(index < memo_.size() && memo_[index] != nullptr, "a memo number that was not set");
      stack_.push_back(memo_[index]);
      return true;
    }
    default:
      return false;
  }
}

void PickleReader::push_long(std::uint64_t size) {
  need(size <= 8, "an integer of more than 64 bits");
  std::uint64_t value = little(size);
  const bool negative = size > 0 && size < 8 && ((value >> (8 * size - 1)) & 1) != 0;
  if (negative) value |= ~std::uint64_t{0} << (8 * size);
  push_integer(static_cast<std::int64_t>(value));
}

void PickleReader::push_tuple(std::size_t size) {
  std::vector<Value*> items(size);
  for (std::size_t i = size; i-- > 0;) items[i] = &pop();
  push(Kind::tuple).items = std::move(items);
}

void PickleReader::append(Value& list, const std::vector<Value*>& values) {
  need(list.kind == Kind::list, "items for something that is no list");
  list.items.insert(list.items.end(), values.begin(), values.end());
}

void PickleReader::set_items(Value& dict, const std::vector<Value*>& values) {
  need(dict.kind == Kind::dict, "items for something that is no dict");
  need(values.size() % 2 == 0, "a key without a value");
  for (std::size_t i = 0; i < values.size(); i += 2) {
    dict.entries.emplace_back(values[i], values[i + 1]);
  }
}

Pickle read_pickle(const std::string& bytes, const std::string& where, PickleGlobals allowed,
                   const StorageOf& storage_of) {
  return PickleReader(bytes, where, allowed, storage_of).read();
}

}  // namespace plumbline
