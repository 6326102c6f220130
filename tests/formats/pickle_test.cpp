// Pickles and torch's zip files: what is written is read back, anything else is refused by name.
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "formats/torch_zip.h"
#include "formats/zip_file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;

/// A folder that is removed with the test.
class Files : public testing::Test {
 protected:
  Files() { fs::create_directories(folder_); }
  ~Files() override { fs::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_ = testing::TempDir() + "plumbline_formats_" + std::to_string(::getpid());
};

at::Tensor no_storage(const std::string&, const std::string&, std::int64_t) { return {}; }

Pickle read(const std::string& bytes, PickleGlobals allowed = PickleGlobals::tensors) {
  return read_pickle(bytes, "test.pkl", allowed, no_storage);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& e) {
    return e.what();
  }
  return "no DataError";
}

TEST(Pickle, Scalars) {
  using namespace std::string_literals;
  EXPECT_EQ(read("\x80\x02J\xFE\xFF\xFF\xFF."s).root().integer, -2);
  EXPECT_EQ(read("\x80\x02\x8a\x01\xFF."s).root().integer, -1);
  EXPECT_EQ(read("\x80\x02\x8a\x05\0\0\0\0\x01."s).root().integer, std::int64_t{1} << 32);
  EXPECT_EQ(read("\x80\x02\x8a\0."s).root().integer, 0);
  EXPECT_EQ(read("\x80\x02G\x3f\xf8\0\0\0\0\0\0."s).root().real, 1.5);
  EXPECT_EQ(read("\x80\x02X\x02\0\0\0hi."s).root().text, "hi");
}

/// {"a": [1, (2, 3)]} with a memo, then OrderedDict([("b", None)]).
TEST(Pickle, Containers) {
  using namespace std::string_literals;
  const Pickle dict = read(
      "\x80\x02}q\0(X\1\0\0\0a](K\1K\2K\3\x86"
      "eu."s);
  const PickleValue* list = dict.root().find("a");
  ASSERT_NE(list, nullptr);
  ASSERT_EQ(list->items.size(), 2U);
  EXPECT_EQ(list->items[1]->items[1]->integer, 3);
  EXPECT_EQ(dict.root().find("b"), nullptr);
  const Pickle ordered = read(
      "\x80\x02"
      "ccollections\nOrderedDict\n](X\1\0\0\0bN\x86"
      "e\x85R."s);
  ASSERT_NE(ordered.root().find("b"), nullptr);
  EXPECT_EQ(ordered.root().find("b")->kind, PickleValue::Kind::none);
}

TEST(Pickle, ForeignNamesAreRefusedBeforeAnythingIsDone) {
  using namespace std::string_literals;
  for (const std::string name : {"os\nsystem", "builtins\neval", "torch\nload", "__torch__\nNet",
                                 "torch._utils\n_rebuild_qtensor", "numpy\nndarray"}) {
    const std::string bytes =
        "\x80\x02"
        "c" +
        name + "\nX\4\0\0\0true\x85R."s;
    std::string dotted = name;
    dotted[dotted.find('\n')] = '.';
    const std::string message = message_of([&] { (void)read(bytes); });
    EXPECT_NE(message.find("'" + dotted + "'"), std::string::npos) << message;
    EXPECT_NE(message.find("test.pkl at byte 2"), std::string::npos) << message;
  }
  // In a TorchScript archive modules are containers; other names stay refused.
  EXPECT_NO_THROW(
      (void)read("\x80\x02"
                 "c__torch__.a\nNet\n)\x81}b."s,
                 PickleGlobals::modules));
  EXPECT_THROW((void)read("\x80\x02"
                          "cos\nsystem\n."s,
                          PickleGlobals::modules),
               DataError);
  // A storage type is no function.
  EXPECT_THROW((void)read("\x80\x02"
                          "ctorch\nFloatStorage\n)R."s),
               DataError);
}

TEST(Pickle, EveryCutIsAnError) {
  using namespace std::string_literals;
  const std::string bytes =
      "\x80\x02}q\0(X\1\0\0\0a](K\1K\2K\3\x86"
      "eu."s;
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_THROW((void)read(bytes.substr(0, n)), DataError) << n << " bytes";
  }
  for (const std::string& bad : {"\x80\x04."s,
                                 "\x80\x02"
                                 "t."s,
                                 "\x80\x02h\1."s, "\x80\x02e."s, "\x80\x02]K\1s."s, "\x80\x02i."s,
                                 "\x80\x02(NQ."s, "\x80\x02."s,
                                 "\x80\x02\x8a\x09"
                                 "123456789."s,
                                 "\x80\x02r\xFF\xFF\xFF\xFF."s}) {
    EXPECT_THROW((void)read(bad), DataError);
  }
}

TEST(Pickle, WhatRefersToItselfOrIsCopiedWithoutEndIsRefused) {
  using namespace std::string_literals;
  // A module that is its own state.
  const std::string own = "\x80\x02}q\0h\0b."s;
  EXPECT_THROW((void)read(own, PickleGlobals::modules), DataError);
  // One list of 100 pairs made into a dict again and again: 6 bytes each time, 100 entries.
  std::string copies =
      "\x80\x02"
      "ccollections\nOrderedDict\nq\0]q\1("s;
  for (int i = 0; i < 100; ++i) copies += "NN\x86";
  copies += "e0";
  const std::string once = "h\0h\1\x85R"s;
  EXPECT_EQ(read(copies + once + ".").root().entries.size(), 100U);
  for (int i = 0; i < 50; ++i) copies += once + "0";
  const std::string message = message_of([&] { (void)read(copies + once + "."); });
  EXPECT_NE(message.find("copied too often"), std::string::npos) << message;
}

TensorFile all_types() {
  TensorFile file;
  const at::Tensor numbers = at::arange(-3, 9, at::kFloat).view({3, 4}) / 4;
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                    at::kInt, at::kByte, at::kBool}) {
    file.tensors.emplace_back(c10::toString(type), numbers.abs().to(type));
  }
  file.tensors.emplace_back("scalar", at::full({}, 7.5, at::kFloat));
  file.tensors.emplace_back("none", at::empty({0, 5}, at::kFloat));
  file.tensors.emplace_back("transposed", numbers.t());
  return file;
}

void write(const std::string& path, const NamedTensors& tensors) {
  TorchWriter out;
  out.begin_dict();
  for (const auto& [name, tensor] : tensors) {
    out.text(name);
    out.tensor(tensor);
  }
  out.end_dict();
  out.close(path);
}

TEST_F(Files, WrittenTensorsAreReadBack) {
  const NamedTensors tensors = all_types().tensors;
  write(path("t.pt"), tensors);
  const Pickle pickle = read_torch_file(path("t.pt"), PickleGlobals::tensors);
  const NamedTensors back = tensors_of(pickle.root(), "t.pt");
  ASSERT_EQ(back.size(), tensors.size());
  for (std::size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].first, tensors[i].first);
    EXPECT_EQ(back[i].second.scalar_type(), tensors[i].second.scalar_type());
    EXPECT_TRUE(at::equal(back[i].second, tensors[i].second)) << back[i].first;
  }
  EXPECT_FALSE(fs::exists(path("t.pt.tmp")));
}

TEST_F(Files, StridesAndOffsetsAreHonouredWithinTheStorage) {
  using namespace std::string_literals;
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  // Sizes (2, 2), strides (1, 3), offset K.
  const auto tensor = [](const std::string& offset) {
    return "\x80\x02"
           "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
           "X\1\0\0\0"
           "0X\3\0\0\0cpuK\6tQK"s +
           offset + "K\2K\2\x86K\1K\3\x86\x89NtR."s;
  };
  const auto store = [&](const std::string& pickle) {
    write_zip(path("s.pt"), {{"a/data.pkl", pickle.data(), pickle.size()},
                             {"a/data/0", values.data(), values.size() * sizeof(float)}});
  };
  store(tensor("\1"));
  const Pickle pickle = read_torch_file(path("s.pt"), PickleGlobals::tensors);
  EXPECT_TRUE(at::equal(pickle.root().tensor, at::tensor({1.F, 4.F, 2.F, 5.F}).view({2, 2})));
  store(tensor("\2"));
  const std::string message =
      message_of([&] { (void)read_torch_file(path("s.pt"), PickleGlobals::tensors); });
  EXPECT_NE(message.find("outside its storage of 6"), std::string::npos) << message;
}

TEST_F(Files, DamagedArchivesAreRefused) {
  write(path("t.pt"), all_types().tensors);
  std::ifstream in(path("t.pt"), std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), {});
  const auto attempt = [&](const std::string& bytes) {
    std::ofstream(path("bad.pt"), std::ios::binary) << bytes;
    return message_of([&] {
      const Pickle pickle = read_torch_file(path("bad.pt"), PickleGlobals::tensors);
      (void)tensors_of(pickle.root(), path("bad.pt"));
    });
  };
  for (std::size_t n = 0; n < whole.size(); n += 97) {
    const std::string message = attempt(whole.substr(0, n));
    EXPECT_NE(message.find("bad.pt at byte"), std::string::npos) << n << ": " << message;
  }
  // The checksum of the record says so.
  std::string pickle = whole;
  pickle[whole.find("FloatStorage")] = 'X';
  EXPECT_NE(attempt(pickle).find("CRC"), std::string::npos) << attempt(pickle);
  EXPECT_NE(attempt("\x80\x02 an old file").find("1.6"), std::string::npos);
}

}  // namespace
}  // namespace plumbline
