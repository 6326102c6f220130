// Strict reading of YAML and JSON files: every key has a place (file:line), is read at most with
// one type, and a key that nobody read is an error with a suggestion. The only user of yaml-cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plumbline {

/// One mapping, sequence or scalar of a configuration, or an absent one. Cheap to copy.
/// Getters throw UsageError "FILE:LINE: ..." for a wrong type. An absent node keeps the default.
class ConfigNode {
 public:
  /// Reads FILE; `base: other.yaml` (relative to FILE) is merged below the file's own keys. Throws
  /// UsageError for syntax errors and duplicate keys, with file and line.
  [[nodiscard]] static ConfigNode read(const std::string& path);
  /// Parses text; `name` stands for the file in messages.
  [[nodiscard]] static ConfigNode parse(const std::string& text, const std::string& name);

  /// `--set key.path=value`, value parsed as YAML; creates mappings on the way, sequences are
  /// indexed by number. Throws UsageError when the text has no '='.
  void set(const std::string& assignment);

  [[nodiscard]] bool present() const;
  [[nodiscard]] bool is_null() const;
  [[nodiscard]] bool is_scalar() const;
  [[nodiscard]] bool is_map() const;
  [[nodiscard]] bool is_sequence() const;

  /// The child under `key` (absent if not there); marks it as known.
  [[nodiscard]] ConfigNode operator[](const std::string& key) const;
  [[nodiscard]] std::vector<std::string> keys() const;
  [[nodiscard]] std::vector<ConfigNode> items() const;

  // Assign if present.
  void get(bool& value) const;
  void get(int& value) const;
  void get(std::int64_t& value) const;
  void get(std::uint64_t& value) const;
  void get(double& value) const;
  void get(std::string& value) const;
  void get(std::vector<std::string>& value) const;  ///< a scalar counts as a list of one
  void get(std::vector<double>& value) const;
  void get(std::vector<int>& value) const;
  void get(std::optional<double>& value) const;  ///< null = none
  template <typename T, std::size_t N, template <typename, std::size_t> class Array>
  void get(Array<T, N>& value) const {
    if (!present()) return;
    const std::vector<ConfigNode> list = items();
    if (list.size() != N) fail("expected a list of " + std::to_string(N) + " values");
    for (std::size_t i = 0; i < N; ++i) list[i].get(value[i]);
  }
  /// As a path: `${ENV}` is expanded; an unset variable is an error.
  void get_path(std::string& value) const;
  void get_paths(std::vector<std::string>& value) const;

  /// Throws UsageError unless the value (if present) is one of `choices`.
  void get_choice(std::string& value, const std::vector<std::string>& choices) const;
  /// Throws UsageError unless lo <= value <= hi.
  void get_in(double& value, double lo, double hi) const;
  void get_in(int& value, int lo, int hi) const;
  void get_in(std::int64_t& value, std::int64_t lo, std::int64_t hi) const;

  /// Throws UsageError for the first key below this node that no operator[] asked for:
  /// "FILE:LINE: unknown key 'a.b' (did you mean 'a.c'?)".
  void reject_unknown() const;

  /// "FILE:LINE: 'key.path' ".
  [[nodiscard]] std::string where() const;
  [[noreturn]] void fail(const std::string& problem) const;

  /// This node as YAML text (flow style for scalars' lists), and as compact JSON.
  [[nodiscard]] std::string to_yaml() const;
  [[nodiscard]] std::string to_json() const;

  struct Tree;  // definition in the .cpp; public only so that the reader's functions can name it
  struct Impl;

 private:
  explicit ConfigNode(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace plumbline
