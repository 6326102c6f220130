// Damaged files of every format, made by the programs that such files come from: cut, with bytes
// changed, with arrays of other shapes. Each is read or refused by an error that says why; none
// takes the program down.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "core/file.h"
#include "formats/import.h"
#include "formats/siglip_npz.h"
#include "formats/zip_file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

/// Whether `action` was refused as bad data or as a file that does not fit; any other exception
/// fails the test.
bool refused(const std::function<void()>& action, const std::string& what) {
  try {
    action();
    return false;
  } catch (const Error& e) {
    EXPECT_TRUE(e.code() == ExitCode::bad_data || e.code() == ExitCode::usage)
        << what << ": " << e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << what << ": " << e.what();
  }
  return true;
}

class Damage : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string root = PLUMBLINE_SOURCE_DIR;
    const std::string python = root + "/.venv/bin/python";
    if (!fs::exists(python)) return;
    fs::create_directories(folder_);
    const std::string command = str("OMP_NUM_THREADS=1 ", python, " ", root,
                                    "/tests/formats/foreign_files.py ", folder_.string(), " 2>&1");
    made_ = std::system((command + " > " + (folder_ / "log").string()).c_str()) == 0;
    EXPECT_TRUE(made_) << read_file(folder_ / "log");
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  void SetUp() override {
    if (!made_) GTEST_SKIP() << "no files of other programs: no Python environment";
  }

  [[nodiscard]] static std::string path(const std::string& name) { return folder_ / name; }
  static void write(const std::string& name, const std::string& bytes) {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }

  static const fs::path folder_;
  static bool made_;
};
const fs::path Damage::folder_ =
    fs::temp_directory_path() / str("plumbline_damage_", std::to_string(::getpid()));
bool Damage::made_ = false;

/// A file, what is imported to read it, and whether --model is needed.
struct Form {
  const char* file;
  const char* import;
  bool needs_model;
};
constexpr Form kForms[] = {{"state.pt", "state.pt", true},
                           {"training.pt", "training.pt", true},
                           {"script.pt", "script.pt", false},
                           {"weights.safetensors", "weights.safetensors", true},
                           {"hub/open_clip_model.safetensors", "hub", false},
                           {"hub/open_clip_config.json", "hub", false},
                           {"hf/model.safetensors", "hf", false},
                           {"hf/config.json", "hf", false}};

void import_form(const Form& form, const std::string& folder) {
  (void)import_model(folder + form.import, form.needs_model ? folder + "model.json" : "");
}

TEST_F(Damage, CutAnywhereIsRefused) {
  for (const Form& form : kForms) {
    EXPECT_NO_THROW(import_form(form, path(""))) << form.file;
    const std::string whole = read_file(path(form.file));
    for (std::size_t i = 0; i < 48; ++i) {
      // A third from the end, where directories stand, the rest from everywhere.
      const std::size_t length = i % 3 == 0   ? whole.size() - 2 - i * i
                                 : i % 3 == 1 ? i * i / 2
                                              : i * whole.size() / 48;
      if (length >= whole.size()) continue;  // of the small files
      write(form.file, whole.substr(0, length));
      const std::string what = str(form.file, " cut at ", length);
      EXPECT_TRUE(refused([&] { import_form(form, path("")); }, what)) << what;
    }
    write(form.file, whole);
  }
}

TEST_F(Damage, ChangedBytesAreReadOrRefused) {
  std::mt19937 random(7);
  for (const Form& form : kForms) {
    const std::string whole = read_file(path(form.file));
    int refusals = 0;
    for (int i = 0; i < 40; ++i) {
      std::string changed = whole;
      // Every other one in the first or last bytes: headers and directories.
      const std::size_t near = random() % std::min<std::size_t>(whole.size(), 3000);
      const std::size_t at = i % 2 == 0   ? random() % whole.size()
                             : i % 4 == 1 ? near
                                          : whole.size() - 1 - near;
      changed[at] = static_cast<char>(changed[at] ^ (1U << (random() % 8)));
      write(form.file, changed);
      const std::string what = str(form.file, " changed at ", at);
      refusals += refused([&] { import_form(form, path("")); }, what) ? 1 : 0;
    }
    write(form.file, whole);
    EXPECT_GT(refusals, 5) << form.file;
  }
}

/// The pickle with one to three changed bits, or pieces from elsewhere: opcodes in another order.
std::string shuffled(std::string pickle, std::mt19937& random) {
  for (unsigned n = 0; n <= random() % 3; ++n) {
    const std::size_t at = random() % pickle.size(), from = random() % pickle.size();
    if (random() % 2 == 0) {
      pickle[at] = static_cast<char>(pickle[at] ^ (1U << (random() % 8)));
    } else {
      pickle.replace(at, random() % 12, pickle.substr(from, random() % 12));
    }
  }
  return pickle;
}

/// Checksums hide the pickle from changed bytes: here they are made anew.
TEST_F(Damage, ChangedPicklesAreReadOrRefused) {
  std::mt19937 random(11);
  for (const Form& form : kForms) {
    const std::string file = form.file;
    if (!file.ends_with(".pt")) continue;
    const auto records = read_zip(path(file), [](const std::string&) { return true; });
    int refusals = 0;
    for (int i = 0; i < 80; ++i) {
      std::vector<ZipPart> parts;
      std::string pickle;
      for (const auto& [name, bytes] : records) {
        const bool changes = name.ends_with("/data.pkl");
        if (changes) pickle = shuffled(*bytes, random);
        const std::string& content = changes ? pickle : *bytes;
        parts.push_back({name, content.data(), content.size()});
      }
      write_zip(path("changed.pt"), parts);
      const Form changed = {"", "changed.pt", form.needs_model};
      const auto action = [&] { import_form(changed, path("")); };
      refusals += refused(action, str(file, " mutation ", i)) ? 1 : 0;
    }
    EXPECT_GT(refusals, 40) << file;
  }
}

TEST_F(Damage, SigLipArraysOfAnyShapeAreReadOrRefused) {
  const NamedTensors whole = read_siglip_npz(path("npz/whole.npz")).tensors;
  const NamedTensors fortran = read_siglip_npz(path("npz/fortran.npz")).tensors;
  ASSERT_EQ(fortran.size(), whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(at::equal(fortran[i].second, whole[i].second)) << whole[i].first;
  }
  int files = 0;
  for (const auto& entry : fs::directory_iterator(path("npz"))) {
    const std::string file = entry.path();
    (void)refused([&] { (void)read_siglip_npz(file); }, file);
    ++files;
  }
  EXPECT_GT(files, 500);
  const std::string bytes = read_file(path("npz/whole.npz"));
  std::mt19937 random(13);
  for (int i = 0; i < 200; ++i) {
    std::string changed = bytes;
    const std::size_t at = random() % bytes.size();
    if (i % 2 == 0) {
      changed.resize(at);
    } else {
      changed[at] = static_cast<char>(changed[at] ^ (1U << (random() % 8)));
    }
    write("changed.npz", changed);
    const bool failed = refused([&] { (void)read_siglip_npz(path("changed.npz")); }, str(i));
    EXPECT_TRUE(failed || i % 2 != 0) << "cut at " << at;
  }
}

/// Values of the two JSON files one by one replaced by wrong ones.
TEST_F(Damage, WrongValuesOfConfigurationsAreRefused) {
  const std::vector<std::string> wrong = {"-1",   "0",     "1e30", "70000", "[]",
                                          "null", "\"x\"", "{}",   "true",  "2147483648"};
  for (const char* folder : {"hf", "hub"}) {
    const std::string file =
        str(folder, std::string(folder) == "hf" ? "/config.json" : "/open_clip_config.json");
    const std::string whole = read_file(path(file));
    for (std::size_t at = whole.find(": "); at != std::string::npos;
         at = whole.find(": ", at + 1)) {
      const std::size_t end = whole.find_first_of(",}\n", at);
      if (whole[at + 2] == '{' || whole[at + 2] == '[') continue;
      for (const std::string& value : wrong) {
        std::string changed = whole;
        changed.replace(at + 2, end - at - 2, value);
        write(file, changed);
        (void)refused([&] { (void)import_model(path(folder), ""); },
                      str(file, " at ", at, ": ", value));
      }
    }
    write(file, whole);
  }
}

}  // namespace
}  // namespace plumbline
