// Writes plain tar whose bytes depend on nothing but names and contents.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace plumbline {

/// Appends ustar members (mode 0644, no owner, time 0) to a sink; a name over 100 bytes gets a pax
/// header. finish() writes the two end blocks.
class TarWriter {
 public:
  using Sink = std::function<void(std::string_view bytes)>;
  explicit TarWriter(Sink sink) : sink_(std::move(sink)) {}
  void add(const std::string& name, std::string_view content);
  void finish();
  /// Bytes written so far.
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  void write(std::string_view bytes);
  void write_header(const std::string& name, std::uint64_t content_bytes, char type);
  void write_padding(std::uint64_t content_bytes);

  Sink sink_;
  std::uint64_t size_ = 0;
};

}  // namespace plumbline
