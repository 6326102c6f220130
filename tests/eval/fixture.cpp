#include "tests/eval/fixture.h"

#include <png.h>
#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "core/philox.h"
#include "data/tar_writer.h"

namespace plumbline::test {

namespace fs = std::filesystem;

TempFolder::TempFolder() {
  std::string name = (fs::temp_directory_path() / "plumbline-eval-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_file(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

std::string make_png(int width, int height, std::uint64_t seed) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<std::uint8_t>(draw(seed, static_cast<std::uint32_t>(i))[0]);
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB;
  png_alloc_size_t bytes = 0;
  png_image_write_to_memory(&image, nullptr, &bytes, 0, pixels.data(), 0, nullptr);
  std::string out(bytes, '\0');
  png_image_write_to_memory(&image, out.data(), &bytes, 0, pixels.data(), 0, nullptr);
  out.resize(bytes);
  return out;
}

void write_tar(const fs::path& path, const std::vector<TarMember>& members) {
  std::string bytes;
  TarWriter writer([&](std::string_view more) { bytes += more; });
  for (const TarMember& member : members) writer.add(member.name, member.content);
  writer.finish();
  write_file(path, bytes);
}

void write_webdataset(const fs::path& root, const std::vector<std::string>& names,
                      const std::vector<int>& labels, int shards) {
  std::string lines;
  for (const std::string& name : names) lines += name + "\n";
  write_file(root / "classnames.txt", lines);
  write_file(root / "zeroshot_classification_templates.txt", "a {c}\na picture of a {c}\n");
  write_file(root / "test/nshards.txt", std::to_string(shards) + "\n");
  std::size_t i = 0;
  for (int s = 0; s < shards; ++s) {
    const std::size_t last =
        labels.size() * static_cast<std::size_t>(s + 1) / static_cast<std::size_t>(shards);
    std::vector<TarMember> members;
    for (; i < last; ++i) {
      char key[32];
      std::snprintf(key, sizeof key, "s%07zu", i);
      members.push_back({std::string(key) + ".cls", std::to_string(labels[i])});
      members.push_back({std::string(key) + ".png", make_png(9, 8, i)});
    }
    write_tar(root / "test" / (std::to_string(s) + ".tar"), members);
  }
}

void write_assets(const fs::path& root, int classes) {
  std::string wnids, names;
  const auto wnid = [](int i) {
    char text[16];
    std::snprintf(text, sizeof text, "n%08d", i);
    return std::string(text);
  };
  for (int i = 0; i < classes; ++i) {
    wnids += wnid(i) + "\n";
    names += "name " + std::to_string(i) + "\n";
  }
  write_file(root / "imagenet_wnids.txt", wnids);
  write_file(root / "imagenet_classnames.txt", names);
  write_file(root / "imagenet_r_wnids.txt", wnid(1) + "\n" + wnid(3) + "\n");
  write_file(root / "imagenet_a_wnids.txt", wnid(3) + "\n" + wnid(4) + "\n");
  write_file(root / "templates/openai80.txt", "a photo of a {c}.\n{c}, {c}!\n");
  write_file(root / "templates/simple.txt", "itap of a {c}.\n");
}

}  // namespace plumbline::test
