// One description of an option serves three readers: the YAML file, the resolved configuration that
// a run keeps, and the reference page. A section lists its options once, as calls on a visitor.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config_node.h"

namespace plumbline {

/// Inclusive bounds of a number.
struct Bounds {
  double lo;
  double hi;
};

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;

  // A named value, what it means, and where wanted the bounds or choices.
  virtual void value(const std::string& key, bool& v, const std::string& doc) = 0;
  virtual void value(const std::string& key, int& v, Bounds bounds, const std::string& doc) = 0;
  virtual void value(const std::string& key, std::int64_t& v, Bounds bounds,
                     const std::string& doc) = 0;
  virtual void value(const std::string& key, std::uint64_t& v, const std::string& doc) = 0;
  virtual void value(const std::string& key, double& v, Bounds bounds, const std::string& doc) = 0;
  virtual void value(const std::string& key, std::optional<double>& v, const std::string& doc) = 0;
  virtual void value(const std::string& key, std::array<double, 2>& v, const std::string& doc) = 0;
  virtual void value(const std::string& key, std::vector<double>& v, const std::string& doc) = 0;
  virtual void value(const std::string& key, std::vector<std::string>& v,
                     const std::string& doc) = 0;
  virtual void text(const std::string& key, std::string& v, const std::string& doc) = 0;
  /// `null` in the file is the empty string.
  virtual void path(const std::string& key, std::string& v, const std::string& doc) = 0;
  virtual void paths(const std::string& key, std::vector<std::string>& v,
                     const std::string& doc) = 0;
  virtual void choice(const std::string& key, std::string& v,
                      const std::vector<std::string>& choices, const std::string& doc) = 0;
  /// A mapping: `body` lists its options.
  virtual void section(const std::string& key, const std::string& doc,
                       const std::function<void(OptionVisitor&)>& body) = 0;
  /// A list of mappings: `body` lists the options of item i. `size` is how many there are;
  /// reading first calls `resize` with the number in the file.
  virtual void list(const std::string& key, std::size_t size, const std::string& doc,
                    const std::function<void(std::size_t)>& resize,
                    const std::function<void(OptionVisitor&, std::size_t)>& body) = 0;
  /// A mapping of another program's schema, kept as compact JSON; "" = absent.
  virtual void json(const std::string& key, std::string& v, const std::string& doc) = 0;

  /// Reading: throws UsageError at this place. Writing and documenting: nothing.
  virtual void check(bool condition, const std::string& key, const std::string& problem) = 0;
};

/// Assigns what stands in `node`; errors name file and line.
[[nodiscard]] std::unique_ptr<OptionVisitor> option_reader(const ConfigNode& node);

/// Collects every option with its value; `yaml()` is then the complete file.
class OptionWriter {
 public:
  OptionWriter();
  ~OptionWriter();
  [[nodiscard]] OptionVisitor& visitor();
  [[nodiscard]] std::string yaml() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A Markdown table row an option: key, default, meaning.
[[nodiscard]] std::string option_reference(const std::function<void(OptionVisitor&)>& body);

}  // namespace plumbline
