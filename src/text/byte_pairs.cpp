#include "text/byte_pairs.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <limits>

#include "core/file.h"
#include "plumbline/error.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

constexpr std::string_view kSha256 =
    "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a";
constexpr int kLastByteSymbol = 256;  ///< id of the first symbol with the end-of-word mark
constexpr std::string_view kEndOfWord = "</w>";

std::string gunzip(const std::string& compressed, const std::string& path) {
  z_stream stream{};
  constexpr int kGzip = 16 + MAX_WBITS;
  require(inflateInit2(&stream, kGzip) == Z_OK, "zlib starts");
  std::string out;
  std::array<char, 1 << 16> buffer{};
  // zlib's interface is older than const.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  int status = Z_OK;
  while (status == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END) {
    throw DataError(str("vocabulary ", path, ": not a complete gzip file (zlib status ", status,
                        " after ", stream.total_in, " of ", compressed.size(), " bytes)"));
  }
  return out;
}

bool prints_as_itself(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

/// The symbols of single bytes by id: first those that print, in order, then the others, which are
/// written as U+0100 and on.
struct ByteSymbols {
  std::array<std::string, 256> text;
  std::array<unsigned, 256> byte;
};

ByteSymbols byte_symbols() {
  ByteSymbols symbols;
  std::size_t id = 0;
  const auto add = [&](char32_t c, unsigned byte) {
    append_utf8(c, symbols.text[id]);
    symbols.byte[id++] = byte;
  };
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (prints_as_itself(byte)) add(byte, byte);
  }
  char32_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (!prints_as_itself(byte)) add(next++, byte);
  }
  return symbols;
}

struct Line {
  std::string_view first, second;
};

/// Lines 2 .. 48895 of the vocabulary: the merges in the order of their rank.
std::vector<Line> merge_lines(std::string_view text, const std::string& path) {
  std::vector<Line> lines;
  std::size_t number = 0;
  while (lines.size() < BytePairs::kMerges && !text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (++number == 1) continue;  // a version line
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) {
      throw DataError(str("vocabulary ", path, ":", number, ": no pair in '", line, "'"));
    }
    lines.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  if (lines.size() != BytePairs::kMerges) {
    throw DataError(
        str("vocabulary ", path, ": ", lines.size(), " merges instead of ", BytePairs::kMerges));
  }
  return lines;
}

/// A small cache of whole words: most words of captions are few. Direct-mapped and bounded, one a
/// thread, so that encoding needs no lock.
struct CachedWord {
  std::uint64_t serial = 0;
  std::string word;
  std::array<std::int32_t, 6> ids{};
  std::size_t count = 0;
};
constexpr std::size_t kCacheSlots = 1 << 14;
constexpr std::size_t kLongestCached = 32;

CachedWord& cache_slot(std::string_view word) {
  thread_local std::vector<CachedWord> slots(kCacheSlots);
  return slots[std::hash<std::string_view>{}(word) % kCacheSlots];
}

std::uint64_t next_serial() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

std::uint64_t pair_key(std::int32_t first, std::int32_t second) {
  return static_cast<std::uint64_t>(first) << 32 | static_cast<std::uint32_t>(second);
}

}  // namespace

BytePairs::BytePairs(const std::string& path) : serial_(next_serial()) {
  const std::string compressed = read_file(path);
  if (const std::string digest = sha256_hex(compressed); digest != kSha256) {
    throw DataError(str("vocabulary ", path, ": SHA-256 ", digest, " instead of ", kSha256, " (",
                        compressed.size(), " bytes); run launch/setup.sh to fetch it again"));
  }
  const std::string text = gunzip(compressed, path);
  const std::vector<Line> lines = merge_lines(text, path);

  std::unordered_map<std::string, std::int32_t> ids;
  const ByteSymbols symbols = byte_symbols();
  for (std::size_t i = 0; i < 256; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    ids[symbols.text[i]] = id;
    ids[symbols.text[i] + std::string(kEndOfWord)] = kLastByteSymbol + id;
    byte_ids_[symbols.byte[i]] = id;
  }
  // Two merges may spell the same symbol: the later one names it.
  for (std::size_t rank = 0; rank < lines.size(); ++rank) {
    ids[std::string(lines[rank].first) + std::string(lines[rank].second)] =
        static_cast<std::int32_t>(512 + rank);
  }
  merges_.reserve(lines.size());
  for (std::size_t rank = 0; rank < lines.size(); ++rank) {
    const std::string first(lines[rank].first);
    const std::string second(lines[rank].second);
    merges_[pair_key(ids.at(first), ids.at(second))] = {static_cast<int>(rank),
                                                        ids.at(first + second)};
  }
}

void BytePairs::append(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (word.size() > kLongestCached) {
    std::vector<std::int32_t> symbols;
    merge_word(word, symbols);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
    return;
  }
  CachedWord& slot = cache_slot(word);
  if (slot.serial != serial_ || slot.word != word) {
    std::vector<std::int32_t> symbols;
    merge_word(word, symbols);
    if (symbols.size() > slot.ids.size()) {
      ids.insert(ids.end(), symbols.begin(), symbols.end());
      return;
    }
    slot.serial = serial_;
    slot.word = word;
    slot.count = symbols.size();
    std::copy(symbols.begin(), symbols.end(), slot.ids.begin());
  }
  ids.insert(ids.end(), slot.ids.begin(),
             slot.ids.begin() + static_cast<std::ptrdiff_t>(slot.count));
}

void BytePairs::merge_word(std::string_view word, std::vector<std::int32_t>& symbols) const {
  for (const char byte : word) symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
  symbols.back() += kLastByteSymbol;
  for (;;) {
    Merge best{std::numeric_limits<int>::max(), 0};
    std::uint64_t best_pair = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const std::uint64_t pair = pair_key(symbols[i], symbols[i + 1]);
      const auto merge = merges_.find(pair);
      if (merge == merges_.end() || merge->second.rank >= best.rank) continue;
      best = merge->second;
      best_pair = pair;
    }
    if (best.rank == std::numeric_limits<int>::max()) return;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++kept) {
      const bool merges =
          i + 1 < symbols.size() && pair_key(symbols[i], symbols[i + 1]) == best_pair;
      symbols[kept] = merges ? best.id : symbols[i];
      i += merges ? 2 : 1;
    }
    symbols.resize(kept);
  }
}

}  // namespace plumbline
