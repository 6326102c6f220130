#include "tests/data/fixture.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "data/synthetic.h"
#include "data/tar_writer.h"

namespace plumbline {

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "plumbline-test-XXXXXX").string();
  if (!::mkdtemp(name.data())) std::abort();
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void TempFolder::write(const std::string& name, std::string_view content) const {
  std::ofstream file(path_ + "/" + name, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string tar_of(const Members& members) {
  std::string bytes;
  TarWriter tar([&](std::string_view piece) { bytes += piece; });
  for (const auto& [name, content] : members) tar.add(name, content);
  tar.finish();
  return bytes;
}

std::string jpeg_of(std::uint64_t ordinal, int size) {
  Image image;
  render_synthetic(ordinal, static_cast<int>(ordinal % 16), size, image);
  const std::vector<std::uint8_t> bytes = encode_jpeg(image, 90);
  return {bytes.begin(), bytes.end()};
}

Members samples_of(const std::string& prefix, int count, int first) {
  Members members;
  for (int i = first; i < first + count; ++i) {
    std::string key = std::to_string(i);
    key = prefix + std::string(6 - key.size(), '0') + key;
    members.emplace_back(key + ".jpg", jpeg_of(static_cast<std::uint64_t>(i)));
    members.emplace_back(key + ".txt", "caption of " + key);
  }
  return members;
}

int ByteTokenizer::encode(std::string_view caption, std::span<std::int32_t> ids_L) const {
  if (caption.starts_with('\xff')) throw std::invalid_argument("not UTF-8");
  std::fill(ids_L.begin(), ids_L.end(), 0);
  for (std::size_t i = 0; i < std::min(ids_L.size(), caption.size()); ++i) {
    ids_L[i] = static_cast<unsigned char>(caption[i]);
  }
  return static_cast<int>(caption.size());
}

}  // namespace plumbline
