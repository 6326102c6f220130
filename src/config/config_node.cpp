#include "config/config_node.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "config/config_tree.h"
#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {

struct ConfigNode::Impl {
  std::shared_ptr<Tree> tree;  ///< null: absent
  std::string path;            ///< "optimizer.lr", empty for the root
  std::string file;            ///< of the nearest present ancestor
  int line = 0;
};

namespace {

using Tree = ConfigNode::Tree;

std::string join_path(const std::string& parent, const std::string& key) {
  return parent.empty() ? key : parent + "." + key;
}

std::shared_ptr<Tree> read_with_base(const std::string& path, int depth) {
  if (depth > 8) throw UsageError(str(path, ": more than 8 files joined by 'base'"));
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  auto tree = parse_config(text, path);
  if (tree->kind != Tree::Kind::map) {
    throw UsageError(str(path, ":1: expected a mapping of keys to values"));
  }
  const auto base = tree->find("base");
  if (!base) return tree;
  if (base->kind != Tree::Kind::scalar) {
    throw UsageError(str(path, ":", base->line, ": 'base' must be the name of a file"));
  }
  std::erase_if(tree->entries, [](const auto& entry) { return entry.first == "base"; });
  const auto folder = std::filesystem::path(path).parent_path();
  return merge_config(read_with_base((folder / base->scalar).string(), depth + 1), tree);
}

/// Edit distance, for suggestions.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replace});
    }
  }
  return row[b.size()];
}

std::string suggestion(const Tree& parent, const std::string& key, const std::string& path) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, key.size() / 3) + 1;
  for (const std::string& candidate : parent.asked) {
    const std::size_t d = distance(key, candidate);
    if (d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best.empty() ? "" : str(" (did you mean '", join_path(path, best), "'?)");
}

void reject_unknown_below(const Tree& tree, const std::string& path) {
  for (const auto& [key, child] : tree.entries) {
    if (!child->known) {
      throw UsageError(str(child->file, ":", child->line, ": unknown key '", join_path(path, key),
                           "'", suggestion(tree, key, path)));
    }
    reject_unknown_below(*child, join_path(path, key));
  }
  for (std::size_t i = 0; i < tree.items.size(); ++i) {
    if (tree.items[i]->known) reject_unknown_below(*tree.items[i], str(path, "[", i, "]"));
  }
}

void mark_all_known(Tree& tree) {
  tree.known = true;
  for (const auto& [key, child] : tree.entries) mark_all_known(*child);
  for (const auto& item : tree.items) mark_all_known(*item);
}

template <typename T>
std::optional<T> parse_number(const std::string& text) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  T value{};
  const auto [rest, error] = std::from_chars(begin, end, value);
  if (error == std::errc() && rest == end && begin != end) return value;
  return std::nullopt;
}

/// Integers may be written as 1.28e7 where that is exact.
template <typename T>
std::optional<T> parse_integer(const std::string& text) {
  if (const auto value = parse_number<T>(text)) return value;
  const auto real = parse_number<double>(text);
  if (!real || *real != std::floor(*real) || std::abs(*real) > 9.007199254740992e15 ||
      *real < static_cast<double>(std::numeric_limits<T>::min()) ||
      *real > static_cast<double>(std::numeric_limits<T>::max())) {
    return std::nullopt;
  }
  return static_cast<T>(*real);
}

std::string expand_environment(const ConfigNode& node, const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t close = text.compare(i, 2, "${") == 0 ? text.find('}', i) : std::string::npos;
    if (close == std::string::npos) {
      out += text[i++];
      continue;
    }
    const std::string name = text.substr(i + 2, close - i - 2);
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) node.fail(str("the environment variable ", name, " is not set"));
    out += value;
    i = close + 1;
  }
  return out;
}

}  // namespace

ConfigNode ConfigNode::read(const std::string& path) {
  auto impl = std::make_shared<Impl>();
  impl->tree = read_with_base(path, 0);
  impl->file = path;
  impl->line = 1;
  return ConfigNode(impl);
}

ConfigNode ConfigNode::parse(const std::string& text, const std::string& name) {
  auto impl = std::make_shared<Impl>();
  impl->tree = parse_config(text, name);
  impl->file = name;
  impl->line = 1;
  return ConfigNode(impl);
}

void ConfigNode::set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError(str("--set ", assignment, ": expected key.path=value"));
  }
  const std::string where = "--set " + assignment;
  std::string rest = assignment.substr(0, equals);
  std::shared_ptr<Tree> tree = impl_->tree;
  for (;;) {
    const std::size_t dot = rest.find('.');
    const std::string key = rest.substr(0, dot);
    const bool last = dot == std::string::npos;
    auto value = last ? parse_config(assignment.substr(equals + 1), where) : nullptr;
    if (tree->kind == Tree::Kind::sequence) {
      const auto index = parse_number<std::size_t>(key);
      if (!index || *index >= tree->items.size()) {
        throw UsageError(
            str(where, ": the list has ", tree->items.size(), " items, no '", key, "'"));
      }
      if (last) tree->items[*index] = value;
      tree = tree->items[*index];
    } else {
      if (tree->kind == Tree::Kind::null) tree->kind = Tree::Kind::map;
      if (tree->kind != Tree::Kind::map)
        throw UsageError(str(where, ": '", key, "' is below a value"));
      if (last) tree->put(key, value);
      if (!tree->find(key)) {
        auto child = std::make_shared<Tree>();
        child->kind = Tree::Kind::map;
        child->file = where;
        child->line = 1;
        tree->put(key, child);
      }
      tree = tree->find(key);
    }
    if (last) return;
    rest = rest.substr(dot + 1);
  }
}

bool ConfigNode::present() const { return impl_->tree != nullptr; }
bool ConfigNode::is_null() const { return present() && impl_->tree->kind == Tree::Kind::null; }
bool ConfigNode::is_scalar() const { return present() && impl_->tree->kind == Tree::Kind::scalar; }
bool ConfigNode::is_map() const { return present() && impl_->tree->kind == Tree::Kind::map; }
bool ConfigNode::is_sequence() const {
  return present() && impl_->tree->kind == Tree::Kind::sequence;
}

ConfigNode ConfigNode::operator[](const std::string& key) const {
  auto child = std::make_shared<Impl>();
  child->path = join_path(impl_->path, key);
  child->file = impl_->file;
  child->line = impl_->line;
  if (!present() || is_null()) return ConfigNode(child);
  if (!is_map()) fail("expected a mapping of keys to values");
  impl_->tree->asked.insert(key);
  if (const auto tree = impl_->tree->find(key)) {
    tree->known = true;
    child->tree = tree;
    child->file = tree->file;
    child->line = tree->line;
  }
  return ConfigNode(child);
}

std::vector<std::string> ConfigNode::keys() const {
  std::vector<std::string> names;
  if (!present() || is_null()) return names;
  if (!is_map()) fail("expected a mapping of keys to values");
  for (const auto& [key, value] : impl_->tree->entries) names.push_back(key);
  return names;
}

std::vector<ConfigNode> ConfigNode::items() const {
  std::vector<ConfigNode> nodes;
  if (!present()) return nodes;
  if (!is_sequence()) fail("expected a list");
  for (std::size_t i = 0; i < impl_->tree->items.size(); ++i) {
    const auto& item = impl_->tree->items[i];
    item->known = true;
    auto child = std::make_shared<Impl>();
    child->tree = item;
    child->path = str(impl_->path, "[", i, "]");
    child->file = item->file;
    child->line = item->line;
    nodes.push_back(ConfigNode(child));
  }
  return nodes;
}

void ConfigNode::get(bool& value) const {
  if (!present()) return;
  if (is_scalar() && impl_->tree->scalar == "true") {
    value = true;
  } else if (is_scalar() && impl_->tree->scalar == "false") {
    value = false;
  } else {
    fail("expected true or false");
  }
}

void ConfigNode::get(int& value) const {
  if (!present()) return;
  const auto number = is_scalar() ? parse_integer<int>(impl_->tree->scalar) : std::nullopt;
  if (!number) fail("expected an integer");
  value = *number;
}

void ConfigNode::get(std::int64_t& value) const {
  if (!present()) return;
  const auto number = is_scalar() ? parse_integer<std::int64_t>(impl_->tree->scalar) : std::nullopt;
  if (!number) fail("expected an integer");
  value = *number;
}

void ConfigNode::get(std::uint64_t& value) const {
  if (!present()) return;
  const auto number =
      is_scalar() ? parse_integer<std::uint64_t>(impl_->tree->scalar) : std::nullopt;
  if (!number) fail("expected an integer >= 0");
  value = *number;
}

void ConfigNode::get(double& value) const {
  if (!present()) return;
  const auto number = is_scalar() ? parse_number<double>(impl_->tree->scalar) : std::nullopt;
  if (!number || !std::isfinite(*number)) fail("expected a number");
  value = *number;
}

void ConfigNode::get(std::string& value) const {
  if (!present()) return;
  if (!is_scalar()) fail("expected text");
  value = impl_->tree->scalar;
}

void ConfigNode::get(std::vector<std::string>& value) const {
  if (!present()) return;
  value.clear();
  if (is_scalar()) {
    value.push_back(impl_->tree->scalar);
    return;
  }
  for (const ConfigNode& item : items()) item.get(value.emplace_back());
}

void ConfigNode::get(std::vector<double>& value) const {
  if (!present() || is_null()) return;
  value.clear();
  for (const ConfigNode& item : items()) item.get(value.emplace_back());
}

void ConfigNode::get(std::vector<int>& value) const {
  if (!present() || is_null()) return;
  value.clear();
  for (const ConfigNode& item : items()) item.get(value.emplace_back());
}

void ConfigNode::get(std::optional<double>& value) const {
  if (!present()) return;
  value.reset();
  if (!is_null()) get(value.emplace());
}

void ConfigNode::get_path(std::string& value) const {
  get(value);
  if (present()) value = expand_environment(*this, value);
}

void ConfigNode::get_paths(std::vector<std::string>& value) const {
  get(value);
  if (!present()) return;
  for (std::string& path : value) path = expand_environment(*this, path);
}

void ConfigNode::get_choice(std::string& value, const std::vector<std::string>& choices) const {
  get(value);
  if (!present() || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  fail("expected one of: " + list);
}

void ConfigNode::get_in(double& value, double lo, double hi) const {
  get(value);
  if (present() && !(value >= lo && value <= hi)) fail(str("must lie in [", lo, ", ", hi, "]"));
}

void ConfigNode::get_in(int& value, int lo, int hi) const {
  get(value);
  if (present() && (value < lo || value > hi)) fail(str("must lie in [", lo, ", ", hi, "]"));
}

void ConfigNode::get_in(std::int64_t& value, std::int64_t lo, std::int64_t hi) const {
  get(value);
  if (present() && (value < lo || value > hi)) fail(str("must lie in [", lo, ", ", hi, "]"));
}

void ConfigNode::reject_unknown() const {
  if (present()) reject_unknown_below(*impl_->tree, impl_->path);
}

std::string ConfigNode::where() const {
  const std::string place =
      impl_->file.starts_with("--set ") ? impl_->file : str(impl_->file, ":", impl_->line);
  return impl_->path.empty() ? place + ": " : str(place, ": '", impl_->path, "' ");
}

void ConfigNode::fail(const std::string& problem) const {
  const std::string given = is_scalar() ? str(" (it is '", impl_->tree->scalar, "')") : "";
  throw UsageError(where() + problem + given);
}

std::string ConfigNode::to_yaml() const { return present() ? emit_yaml(*impl_->tree) : "null\n"; }

std::string ConfigNode::to_json() const {
  if (!present()) return "null";
  mark_all_known(*impl_->tree);
  return emit_json(*impl_->tree);
}

}  // namespace plumbline
