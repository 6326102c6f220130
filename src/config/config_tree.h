// The tree behind ConfigNode: what a file said and where, and which keys the program knows.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/config_node.h"

namespace plumbline {

struct ConfigNode::Tree {
  enum class Kind { null, scalar, sequence, map };
  Kind kind = Kind::null;
  std::string scalar;
  bool quoted = false;
  std::vector<std::shared_ptr<Tree>> items;
  std::vector<std::pair<std::string, std::shared_ptr<Tree>>> entries;
  std::string file;
  int line = 0;
  bool known = false;           ///< some operator[] asked for it
  std::set<std::string> asked;  ///< child names that were asked for: candidates for suggestions

  [[nodiscard]] std::shared_ptr<Tree> find(const std::string& key) const;
  void put(const std::string& key, std::shared_ptr<Tree> value);
};

/// Parses YAML (hence JSON). Throws UsageError with file and line for syntax errors and duplicate
/// keys.
[[nodiscard]] std::shared_ptr<ConfigNode::Tree> parse_config(const std::string& text,
                                                             const std::string& file);

/// `over` wins; mappings merge key by key, everything else is replaced.
[[nodiscard]] std::shared_ptr<ConfigNode::Tree> merge_config(
    const std::shared_ptr<ConfigNode::Tree>& under, const std::shared_ptr<ConfigNode::Tree>& over);

[[nodiscard]] std::string emit_yaml(const ConfigNode::Tree& tree);
[[nodiscard]] std::string emit_json(const ConfigNode::Tree& tree);

}  // namespace plumbline
