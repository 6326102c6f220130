#include "config/config_tree.h"

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "plumbline/error.h"

namespace plumbline {

using Tree = ConfigNode::Tree;

std::shared_ptr<Tree> Tree::find(const std::string& key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return value;
  }
  return nullptr;
}

void Tree::put(const std::string& key, std::shared_ptr<Tree> value) {
  for (auto& [name, old] : entries) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  entries.emplace_back(key, std::move(value));
}

namespace {

std::shared_ptr<Tree> convert(const YAML::Node& node, const std::string& file) {
  auto tree = std::make_shared<Tree>();
  tree->file = file;
  tree->line = node.Mark().line + 1;
  if (node.IsScalar()) {
    tree->kind = Tree::Kind::scalar;
    tree->scalar = node.Scalar();
    tree->quoted = node.Tag() == "!";
  } else if (node.IsSequence()) {
    tree->kind = Tree::Kind::sequence;
    for (const auto& item : node) tree->items.push_back(convert(item, file));
  } else if (node.IsMap()) {
    tree->kind = Tree::Kind::map;
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      if (tree->find(key)) {
        throw UsageError(
            str(file, ":", entry.first.Mark().line + 1, ": the key '", key, "' stands twice"));
      }
      auto child = convert(entry.second, file);
      child->line = entry.first.Mark().line + 1;
      tree->entries.emplace_back(key, std::move(child));
    }
  }
  return tree;
}

/// The JSON value of a plain YAML scalar: a number or boolean where it reads as one.
nlohmann::ordered_json scalar_json(const Tree& tree) {
  if (!tree.quoted) {
    if (tree.scalar == "true") return true;
    if (tree.scalar == "false") return false;
    const auto number = nlohmann::ordered_json::parse(tree.scalar, nullptr, false);
    if (number.is_number()) return number;
  }
  return tree.scalar;
}

nlohmann::ordered_json to_json_value(const Tree& tree) {
  switch (tree.kind) {
    case Tree::Kind::null:
      return nullptr;
    case Tree::Kind::scalar:
      return scalar_json(tree);
    case Tree::Kind::sequence: {
      auto list = nlohmann::ordered_json::array();
      for (const auto& item : tree.items) list.push_back(to_json_value(*item));
      return list;
    }
    case Tree::Kind::map: {
      auto object = nlohmann::ordered_json::object();
      for (const auto& [key, value] : tree.entries) object[key] = to_json_value(*value);
      return object;
    }
  }
  return nullptr;
}

bool only_scalars(const Tree& tree) {
  for (const auto& item : tree.items) {
    if (item->kind == Tree::Kind::map || item->kind == Tree::Kind::sequence) return false;
  }
  return true;
}

void emit(YAML::Emitter& out, const Tree& tree) {
  switch (tree.kind) {
    case Tree::Kind::null:
      out << YAML::Null;
      break;
    case Tree::Kind::scalar:
      if (tree.quoted) out << YAML::DoubleQuoted;
      out << tree.scalar;
      break;
    case Tree::Kind::sequence:
      if (only_scalars(tree)) out << YAML::Flow;
      out << YAML::BeginSeq;
      for (const auto& item : tree.items) emit(out, *item);
      out << YAML::EndSeq;
      break;
    case Tree::Kind::map:
      out << YAML::BeginMap;
      for (const auto& [key, value] : tree.entries) {
        out << YAML::Key << key << YAML::Value;
        emit(out, *value);
      }
      out << YAML::EndMap;
      break;
  }
}

}  // namespace

std::shared_ptr<Tree> parse_config(const std::string& text, const std::string& file) {
  try {
    return convert(YAML::Load(text), file);
  } catch (const YAML::Exception& e) {
    throw UsageError(str(file, ":", e.mark.line + 1, ": not valid YAML: ", e.msg));
  }
}

std::shared_ptr<Tree> merge_config(const std::shared_ptr<Tree>& under,
                                   const std::shared_ptr<Tree>& over) {
  if (under->kind != Tree::Kind::map || over->kind != Tree::Kind::map) return over;
  auto merged = std::make_shared<Tree>(*over);
  merged->entries = under->entries;
  for (const auto& [key, value] : over->entries) {
    const auto below = under->find(key);
    merged->put(key, below ? merge_config(below, value) : value);
  }
  return merged;
}

std::string emit_yaml(const Tree& tree) {
  YAML::Emitter out;
  emit(out, tree);
  return std::string(out.c_str()) + "\n";
}

std::string emit_json(const Tree& tree) { return to_json_value(tree).dump(); }

}  // namespace plumbline
