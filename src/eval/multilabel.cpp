#include "eval/multilabel.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <optional>

#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

/// The text between the quotes that follow 'key':, or up to the closing bracket of a tuple.
std::string header_value(std::string_view header, const std::string& key) {
  const std::size_t at = header.find(str("'", key, "':"));
  if (at == std::string_view::npos) return "";
  std::string_view rest = header.substr(at + key.size() + 3);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  if (rest.empty()) return "";
  const char end = rest[0] == '\'' ? '\'' : rest[0] == '(' ? ')' : ',';
  if (end != ',') rest.remove_prefix(1);
  return std::string(rest.substr(0, rest.find(end)));
}

struct Npy {
  std::string type;   ///< "<i8"
  std::string shape;  ///< "20,"
  std::string_view values;
};

std::optional<Npy> open_npy(std::string_view npy) {
  if (npy.size() < 10 || npy.substr(0, kMagic.size()) != kMagic) return std::nullopt;
  const auto byte = [&](std::size_t i) {
    return static_cast<std::size_t>(static_cast<unsigned char>(npy[i]));
  };
  const bool wide = byte(6) >= 2;  // the length has four bytes since version 2
  const std::size_t begin = wide ? 12 : 10;
  if (npy.size() < begin) return std::nullopt;
  std::size_t length = byte(8) + (byte(9) << 8);
  if (wide) length += (byte(10) << 16) + (byte(11) << 24);
  if (npy.size() - begin < length) return std::nullopt;
  const std::string_view header = npy.substr(begin, length);
  return Npy{header_value(header, "descr"), header_value(header, "shape"),
             npy.substr(begin + length)};
}

template <typename T>
std::vector<std::int32_t> non_zero(std::string_view values) {
  std::vector<std::int32_t> places;
  for (std::size_t i = 0; i < values.size() / sizeof(T); ++i) {
    T value;
    std::memcpy(&value, values.data() + i * sizeof(T), sizeof(T));
    if (value != T(0)) places.push_back(static_cast<std::int32_t>(i));
  }
  return places;
}

struct ValueType {
  const char* name;
  std::size_t bytes;
  std::vector<std::int32_t> (*places)(std::string_view);
};

constexpr ValueType kTypes[] = {
    {"|b1", 1, non_zero<std::uint8_t>},  {"|u1", 1, non_zero<std::uint8_t>},
    {"|i1", 1, non_zero<std::int8_t>},   {"<i2", 2, non_zero<std::int16_t>},
    {"<u2", 2, non_zero<std::uint16_t>}, {"<i4", 4, non_zero<std::int32_t>},
    {"<u4", 4, non_zero<std::uint32_t>}, {"<i8", 8, non_zero<std::int64_t>},
    {"<u8", 8, non_zero<std::uint64_t>}, {"<f4", 4, non_zero<float>},
    {"<f8", 8, non_zero<double>},
};

}  // namespace

std::vector<std::int32_t> read_multi_hot(std::string_view npy, std::int64_t classes,
                                         const std::string& where) {
  const std::optional<Npy> array = open_npy(npy);
  if (!array) throw DataError(str(where, "has a label (.npy) that is no numpy array"));
  const auto* const type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                        [&](const auto& t) { return array->type == t.name; });
  if (type == std::end(kTypes)) {
    throw DataError(str(where, "has a label (.npy) of the type '", array->type, "'"));
  }
  std::int64_t length = -1;
  const std::string& shape = array->shape;
  const auto [end, error] = std::from_chars(shape.data(), shape.data() + shape.size(), length);
  const bool one = error == std::errc() && std::string_view(end) == ",";
  if (!one || length != classes ||
      array->values.size() != static_cast<std::size_t>(length) * type->bytes) {
    throw DataError(str(where, "has a label (.npy) of the shape (", shape, ") and ",
                        array->values.size(), " bytes, but there are ", classes, " classes"));
  }
  return type->places(array->values);
}

double average_precision(std::span<const float> scores, std::span<const std::uint8_t> positive) {
  require(scores.size() == positive.size(), "one label for each score");
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  double sum = 0, found = 0;
  for (std::size_t place = 0; place < order.size(); ++place) {
    if (positive[order[place]] == 0) continue;
    ++found;
    sum += found / static_cast<double>(place + 1);
  }
  return sum / std::max(found, 1.0);
}

MultilabelResult measure_multilabel(std::vector<float> scores_NC,
                                    const std::vector<std::vector<std::int32_t>>& positives_N,
                                    std::int64_t classes) {
  const std::size_t n = positives_N.size(), columns = static_cast<std::size_t>(classes);
  require(scores_NC.size() == n * columns, "one score for each image and class");
  MultilabelResult result;
  for (std::size_t c = 0; c < columns; ++c) {
    std::vector<float> scores(n);
    std::vector<std::uint8_t> positive(n);
    for (std::size_t i = 0; i < n; ++i) {
      scores[i] = scores_NC[i * columns + c];
      const auto& of = positives_N[i];
      positive[i] = std::find(of.begin(), of.end(), static_cast<std::int32_t>(c)) != of.end();
    }
    result.average_precision.push_back(average_precision(scores, positive));
    result.positives.push_back(std::accumulate(positive.begin(), positive.end(), std::int64_t{0}));
  }
  if (n > 0) {
    result.mean =
        std::accumulate(result.average_precision.begin(), result.average_precision.end(), 0.0) /
        static_cast<double>(columns);
  }
  result.labels = positives_N;
  result.scores_NC = std::move(scores_NC);
  return result;
}

}  // namespace plumbline
