#include "config/option_visitor.h"

#include <charconv>

#include "config/config_tree.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

class OptionReader : public OptionVisitor {
 public:
  explicit OptionReader(ConfigNode node) : node_(std::move(node)) {}

  void value(const std::string& key, bool& v, const std::string&) override { node_[key].get(v); }
  void value(const std::string& key, int& v, Bounds b, const std::string&) override {
    node_[key].get_in(v, static_cast<int>(b.lo), static_cast<int>(b.hi));
  }
  void value(const std::string& key, std::int64_t& v, Bounds b, const std::string&) override {
    node_[key].get_in(v, static_cast<std::int64_t>(b.lo), static_cast<std::int64_t>(b.hi));
  }
  void value(const std::string& key, std::uint64_t& v, const std::string&) override {
    node_[key].get(v);
  }
  void value(const std::string& key, double& v, Bounds b, const std::string&) override {
    node_[key].get_in(v, b.lo, b.hi);
  }
  void value(const std::string& key, std::optional<double>& v, const std::string&) override {
    node_[key].get(v);
  }
  void value(const std::string& key, std::array<double, 2>& v, const std::string&) override {
    std::vector<double> list(v.begin(), v.end());
    const ConfigNode child = node_[key];
    child.get(list);
    if (list.size() != 2) child.fail("expected a list of 2 numbers");
    v = {list[0], list[1]};
  }
  void value(const std::string& key, std::vector<double>& v, const std::string&) override {
    const ConfigNode child = node_[key];
    if (child.is_null()) v.clear();
    child.get(v);
  }
  void value(const std::string& key, std::vector<std::string>& v, const std::string&) override {
    node_[key].get(v);
  }
  void text(const std::string& key, std::string& v, const std::string&) override {
    node_[key].get(v);
  }
  void path(const std::string& key, std::string& v, const std::string&) override {
    const ConfigNode child = node_[key];
    if (child.is_null()) {
      v.clear();
    } else {
      child.get_path(v);
    }
  }
  void paths(const std::string& key, std::vector<std::string>& v, const std::string&) override {
    node_[key].get_paths(v);
  }
  void choice(const std::string& key, std::string& v, const std::vector<std::string>& choices,
              const std::string&) override {
    node_[key].get_choice(v, choices);
  }
  void section(const std::string& key, const std::string&,
               const std::function<void(OptionVisitor&)>& body) override {
    OptionReader child(node_[key]);
    body(child);
  }
  void list(const std::string& key, std::size_t, const std::string&,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(OptionVisitor&, std::size_t)>& body) override {
    const ConfigNode child = node_[key];
    if (!child.present()) return;
    const std::vector<ConfigNode> nodes = child.items();
    resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      OptionReader item(nodes[i]);
      body(item, i);
    }
  }
  void json(const std::string& key, std::string& v, const std::string&) override {
    const ConfigNode child = node_[key];
    if (child.present()) v = child.is_null() ? "" : child.to_json();
  }
  void check(bool condition, const std::string& key, const std::string& problem) override {
    if (!condition) node_[key].fail(problem);
  }

 private:
  ConfigNode node_;
};

using Tree = ConfigNode::Tree;

std::string shortest(double v) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, v).ptr;
  std::string s(text, end);
  if (s.find_first_of(".en") == std::string::npos) s += ".0";
  return s;
}

/// Words that YAML would read as something else than text.
bool needs_quotes(const std::string& s) {
  if (s.empty() || s == "true" || s == "false" || s == "null" || s == "~") return true;
  double number = 0;
  return std::from_chars(s.data(), s.data() + s.size(), number).ptr == s.data() + s.size();
}

std::shared_ptr<Tree> scalar(std::string text, bool quoted = false) {
  auto tree = std::make_shared<Tree>();
  tree->kind = Tree::Kind::scalar;
  tree->scalar = std::move(text);
  tree->quoted = quoted;
  return tree;
}
std::shared_ptr<Tree> scalar_text(const std::string& s) { return scalar(s, needs_quotes(s)); }
std::shared_ptr<Tree> container(Tree::Kind kind) {
  auto tree = std::make_shared<Tree>();
  tree->kind = kind;
  return tree;
}

class TreeWriter : public OptionVisitor {
 public:
  explicit TreeWriter(std::shared_ptr<Tree> map) : map_(std::move(map)) {}

  void value(const std::string& key, bool& v, const std::string&) override {
    map_->put(key, scalar(v ? "true" : "false"));
  }
  void value(const std::string& key, int& v, Bounds, const std::string&) override {
    map_->put(key, scalar(std::to_string(v)));
  }
  void value(const std::string& key, std::int64_t& v, Bounds, const std::string&) override {
    map_->put(key, scalar(std::to_string(v)));
  }
  void value(const std::string& key, std::uint64_t& v, const std::string&) override {
    map_->put(key, scalar(std::to_string(v)));
  }
  void value(const std::string& key, double& v, Bounds, const std::string&) override {
    map_->put(key, scalar(shortest(v)));
  }
  void value(const std::string& key, std::optional<double>& v, const std::string&) override {
    map_->put(key, v ? scalar(shortest(*v)) : container(Tree::Kind::null));
  }
  void value(const std::string& key, std::array<double, 2>& v, const std::string& doc) override {
    std::vector<double> list(v.begin(), v.end());
    value(key, list, doc);
  }
  void value(const std::string& key, std::vector<double>& v, const std::string&) override {
    auto list = container(v.empty() ? Tree::Kind::null : Tree::Kind::sequence);
    for (const double x : v) list->items.push_back(scalar(shortest(x)));
    map_->put(key, list);
  }
  void value(const std::string& key, std::vector<std::string>& v, const std::string&) override {
    auto list = container(Tree::Kind::sequence);
    for (const std::string& s : v) list->items.push_back(scalar_text(s));
    map_->put(key, list);
  }
  void text(const std::string& key, std::string& v, const std::string&) override {
    map_->put(key, scalar_text(v));
  }
  void path(const std::string& key, std::string& v, const std::string&) override {
    map_->put(key, v.empty() ? container(Tree::Kind::null) : scalar_text(v));
  }
  void paths(const std::string& key, std::vector<std::string>& v, const std::string& doc) override {
    value(key, v, doc);
  }
  void choice(const std::string& key, std::string& v, const std::vector<std::string>&,
              const std::string&) override {
    map_->put(key, scalar_text(v));
  }
  void section(const std::string& key, const std::string&,
               const std::function<void(OptionVisitor&)>& body) override {
    auto child = container(Tree::Kind::map);
    TreeWriter writer(child);
    body(writer);
    map_->put(key, child);
  }
  void list(const std::string& key, std::size_t size, const std::string&,
            const std::function<void(std::size_t)>&,
            const std::function<void(OptionVisitor&, std::size_t)>& body) override {
    auto sequence = container(Tree::Kind::sequence);
    for (std::size_t i = 0; i < size; ++i) {
      auto item = container(Tree::Kind::map);
      TreeWriter writer(item);
      body(writer, i);
      sequence->items.push_back(item);
    }
    map_->put(key, sequence);
  }
  void json(const std::string& key, std::string& v, const std::string&) override {
    if (!v.empty()) map_->put(key, parse_config(v, key));
  }
  void check(bool, const std::string&, const std::string&) override {}

 private:
  std::shared_ptr<Tree> map_;
};

class ReferenceWriter : public OptionVisitor {
 public:
  ReferenceWriter(std::string prefix, std::string& out) : prefix_(std::move(prefix)), out_(out) {}

  void value(const std::string& key, bool& v, const std::string& doc) override {
    row(key, v ? "true" : "false", doc);
  }
  void value(const std::string& key, int& v, Bounds, const std::string& doc) override {
    row(key, std::to_string(v), doc);
  }
  void value(const std::string& key, std::int64_t& v, Bounds, const std::string& doc) override {
    row(key, std::to_string(v), doc);
  }
  void value(const std::string& key, std::uint64_t& v, const std::string& doc) override {
    row(key, std::to_string(v), doc);
  }
  void value(const std::string& key, double& v, Bounds, const std::string& doc) override {
    row(key, shortest(v), doc);
  }
  void value(const std::string& key, std::optional<double>& v, const std::string& doc) override {
    row(key, v ? shortest(*v) : "null", doc);
  }
  void value(const std::string& key, std::array<double, 2>& v, const std::string& doc) override {
    row(key, "[" + shortest(v[0]) + ", " + shortest(v[1]) + "]", doc);
  }
  void value(const std::string& key, std::vector<double>& v, const std::string& doc) override {
    std::string list;
    for (const double x : v) list += (list.empty() ? "" : ", ") + shortest(x);
    row(key, v.empty() ? "null" : "[" + list + "]", doc);
  }
  void value(const std::string& key, std::vector<std::string>& v, const std::string& doc) override {
    std::string list;
    for (const std::string& s : v) list += (list.empty() ? "" : ", ") + s;
    row(key, "[" + list + "]", doc);
  }
  void text(const std::string& key, std::string& v, const std::string& doc) override {
    row(key, v.empty() ? "" : v, doc);
  }
  void path(const std::string& key, std::string& v, const std::string& doc) override {
    row(key, v.empty() ? "null" : v, doc);
  }
  void paths(const std::string& key, std::vector<std::string>& v, const std::string& doc) override {
    value(key, v, doc);
  }
  void choice(const std::string& key, std::string& v, const std::vector<std::string>& choices,
              const std::string& doc) override {
    std::string list;
    for (const std::string& s : choices) list += (list.empty() ? "`" : ", `") + s + "`";
    row(key, v, doc + (doc.empty() ? "" : "; ") + "one of " + list);
  }
  void section(const std::string& key, const std::string& doc,
               const std::function<void(OptionVisitor&)>& body) override {
    if (!doc.empty()) row(key, "", doc);
    ReferenceWriter child(prefix_ + key + ".", out_);
    body(child);
  }
  void list(const std::string& key, std::size_t, const std::string& doc,
            const std::function<void(std::size_t)>& resize,
            const std::function<void(OptionVisitor&, std::size_t)>& body) override {
    row(key, "", doc);
    resize(1);
    ReferenceWriter child(prefix_ + key + "[].", out_);
    body(child, 0);
  }
  void json(const std::string& key, std::string&, const std::string& doc) override {
    row(key, "", doc);
  }
  void check(bool, const std::string&, const std::string&) override {}

 private:
  void row(const std::string& key, const std::string& value, const std::string& doc) {
    out_ += str("| `", prefix_, key, "` | ", value.empty() ? "" : "`" + value + "`", " | ", doc,
                " |\n");
  }
  std::string prefix_;
  std::string& out_;
};

}  // namespace

std::unique_ptr<OptionVisitor> option_reader(const ConfigNode& node) {
  return std::make_unique<OptionReader>(node);
}

struct OptionWriter::State {
  std::shared_ptr<Tree> root = container(Tree::Kind::map);
  TreeWriter writer{root};
};
OptionWriter::OptionWriter() : state_(std::make_unique<State>()) {}
OptionWriter::~OptionWriter() = default;
OptionVisitor& OptionWriter::visitor() { return state_->writer; }
std::string OptionWriter::yaml() const { return emit_yaml(*state_->root); }

std::string option_reference(const std::function<void(OptionVisitor&)>& body) {
  std::string out = "| key | default | meaning |\n|---|---|---|\n";
  ReferenceWriter writer("", out);
  body(writer);
  return out;
}

}  // namespace plumbline
