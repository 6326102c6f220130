// What pickles build: names, containers, tensors.
#include "formats/pickle_reader.h"

namespace plumbline {

namespace {
constexpr char kRebuildTensor[] = "torch._utils._rebuild_tensor_v2";
constexpr char kRebuildParameter[] = "torch._utils._rebuild_parameter";
constexpr char kOrderedDict[] = "collections.OrderedDict";
constexpr char kSize[] = "torch.Size";
constexpr char kTagged[] = "torch.jit._pickle.";  ///< typed lists and dicts of TorchScript
constexpr char kModule[] = "__torch__.";
}  // namespace

void PickleReader::push_global() {
  const std::string module = line();
  const std::string name = module + "." + line();
  const bool modules = allowed_ == PickleGlobals::modules;
  const bool allowed = name == kOrderedDict || name == kSize || name == kRebuildTensor ||
                       name == kRebuildParameter ||
                       (module == "torch" && name.ends_with("Storage")) ||
                       (modules && (name.starts_with(kModule) || name.starts_with(kTagged)));
  if (!allowed) {
    fail(str("the pickle asks for '", name,
             "', which is neither a tensor nor a plain container: not read"));
  }
  push(Kind::global).text = name;
}

void PickleReader::reduce() {
  const Value& arguments = pop();
  const Value& callee = pop();
  need(callee.kind == Kind::global && arguments.kind == Kind::tuple,
       "a call of something that is no name");
  if (callee.text == kOrderedDict) return call_ordered_dict(arguments);
  if (callee.text == kRebuildTensor) return call_rebuild_tensor(arguments);
  const bool wraps =
      callee.text == kSize || callee.text == kRebuildParameter || callee.text.starts_with(kTagged);
  if (!wraps) fail(str("'", callee.text, "' is called"));
  need(!arguments.items.empty(), "a call without arguments");
  stack_.push_back(arguments.items[0]);
}

void PickleReader::new_object() {
  need(pop().kind == Kind::tuple, "a new object without arguments");
  const Value& type = pop();
  if (type.kind != Kind::global || !type.text.starts_with(kModule)) {
    fail("an object of a class is made");
  }
  (void)push(Kind::dict);
}

/// Entries are written once and copied once; a pickle that has the same ones copied over and over
/// would fill the memory.
void PickleReader::count_copies(std::size_t entries) {
  copies_ += entries;
  need(copies_ <= bytes_.size(), "the same entries are copied too often");
}

/// The attributes of a TorchScript module are its state; what torch.save hangs on an OrderedDict
/// (its version numbers) is left out.
void PickleReader::build() {
  const Value& state = pop();
  Value& object = top();
  if (allowed_ != PickleGlobals::modules || object.kind != Kind::dict) return;
  need(state.kind == Kind::dict && &state != &object, "the state of a module is no dict");
  count_copies(state.entries.size());
  object.entries.insert(object.entries.end(), state.entries.begin(), state.entries.end());
}

/// ('storage', type, key, device, number of elements)
void PickleReader::persistent_id() {
  const Value& id = pop();
  const bool fits = id.kind == Kind::tuple && id.items.size() == 5 &&
                    id.items[0]->kind == Kind::text && id.items[0]->text == "storage" &&
                    id.items[1]->kind == Kind::global && id.items[2]->kind == Kind::text &&
                    id.items[4]->kind == Kind::integer && id.items[4]->integer >= 0;
  need(fits, "a persistent object that is no storage");
  at::Tensor storage;
  try {
    storage = storage_of_(id.items[1]->text, id.items[2]->text, id.items[4]->integer);
  } catch (const DataError& e) {
    fail(e.what());
  }
  push(Kind::storage).tensor = storage;
}

void PickleReader::call_ordered_dict(const Value& arguments) {
  Value& dict = push(Kind::dict);
  if (arguments.items.empty()) return;
  const Value& pairs = *arguments.items[0];
  need(pairs.kind == Kind::list, "an OrderedDict of something that is no list");
  count_copies(pairs.items.size());
  for (const Value* pair : pairs.items) {
    need(pair->items.size() == 2, "an OrderedDict of something that is no pair");
    dict.entries.emplace_back(pair->items[0], pair->items[1]);
  }
}

std::vector<std::int64_t> PickleReader::integers(const Value& tuple) const {
  need(tuple.kind == Kind::tuple, "sizes or strides of a tensor are no tuple");
  std::vector<std::int64_t> values;
  for (const Value* item : tuple.items) {
    need(item->kind == Kind::integer && item->integer >= 0,
         "a size or stride of a tensor is no count");
    values.push_back(item->integer);
  }
  return values;
}

/// The last element must lie in the storage; nothing may overflow on the way there.
void PickleReader::check_extent(const std::vector<std::int64_t>& sizes,
                                const std::vector<std::int64_t>& strides, std::int64_t offset,
                                std::int64_t count) const {
  std::int64_t last = offset, elements = 1;
  bool bad = sizes.size() != strides.size() || sizes.size() > 64;
  for (std::size_t i = 0; i < sizes.size() && !bad; ++i) {
    bad = __builtin_mul_overflow(elements, sizes[i], &elements);
  }
  for (std::size_t i = 0; i < sizes.size() && !bad && elements > 0; ++i) {
    std::int64_t reach = 0;
    bad = __builtin_mul_overflow(sizes[i] - 1, strides[i], &reach) ||
          __builtin_add_overflow(last, reach, &last);
  }
  if (bad || (elements > 0 ? last >= count : offset > count)) {
    fail(plumbline::str("a tensor of sizes ", at::IntArrayRef(sizes), ", strides ",
                        at::IntArrayRef(strides), ", offset ", offset,
                        " lies outside its storage of ", count));
  }
}

/// (storage, offset, sizes, strides, requires_grad, hooks, ...)
void PickleReader::call_rebuild_tensor(const Value& arguments) {
  need(arguments.items.size() >= 4 && arguments.items[0]->kind == Kind::storage &&
           arguments.items[1]->kind == Kind::integer && arguments.items[1]->integer >= 0,
       "a tensor without storage and offset");
  const at::Tensor& storage = arguments.items[0]->tensor;
  const std::int64_t offset = arguments.items[1]->integer;
  const std::vector<std::int64_t> sizes = integers(*arguments.items[2]);
  const std::vector<std::int64_t> strides = integers(*arguments.items[3]);
  check_extent(sizes, strides, offset, storage.numel());
  push(Kind::tensor).tensor = storage.as_strided(sizes, strides, offset);
}

}  // namespace plumbline
