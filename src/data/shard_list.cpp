#include "data/shard_list.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "core/file.h"
#include "data/remote_shard.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::size_t kMaxEntries = 10'000'000;
constexpr std::size_t kNamed = 5;

/// Index of the '}' that closes the '{' at `open`.
std::size_t closing_brace(const std::string& text, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i;
  }
  throw UsageError(str("shards: '{' without '}' in '", text, "'"));
}

/// Splits at commas that stand outside inner braces.
std::vector<std::string> split_alternatives(const std::string& body) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (const char c : body) {
    if (c == '{') ++depth;
    if (c == '}') --depth;
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 18 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// "00000..41455" to its numbers, as wide as the wider end when one has a leading zero.
std::optional<std::vector<std::string>> number_range(const std::string& body) {
  const std::size_t dots = body.find("..");
  if (dots == std::string::npos) return std::nullopt;
  const std::string from = body.substr(0, dots);
  const std::string to = body.substr(dots + 2);
  if (!is_number(from) || !is_number(to)) return std::nullopt;
  const std::int64_t first = std::stoll(from);
  const std::int64_t last = std::stoll(to);
  const std::int64_t step = first <= last ? 1 : -1;
  if (static_cast<std::size_t>((last - first) * step) >= kMaxEntries) {
    throw UsageError(str("shards: {", body, "} is more than ", kMaxEntries, " entries"));
  }
  const bool padded = (from.size() > 1 && from[0] == '0') || (to.size() > 1 && to[0] == '0');
  const std::size_t width = padded ? std::max(from.size(), to.size()) : 0;
  std::vector<std::string> numbers;
  for (std::int64_t i = first;; i += step) {
    std::string number = std::to_string(i);
    if (number.size() < width) number.insert(0, width - number.size(), '0');
    numbers.push_back(std::move(number));
    if (i == last) break;
  }
  return numbers;
}

std::vector<std::string> alternatives(const std::string& body) {
  if (auto numbers = number_range(body)) return *std::move(numbers);
  std::vector<std::string> results;
  for (const std::string& part : split_alternatives(body)) {
    for (std::string& expanded : expand_braces(part)) results.push_back(std::move(expanded));
  }
  return results;
}

std::vector<std::string> split_joined(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find("::", begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 2;
  }
}

std::vector<std::string> lines_of(const std::string& path) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error& error) {
    throw UsageError(str("shards: @", path, ": ", error.what()));
  }
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(begin, end - begin);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

void append_glob(const std::string& pattern, std::vector<std::string>& out) {
  glob_t found{};
  const int failed = ::glob(pattern.c_str(), GLOB_NOSORT | GLOB_ERR, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (failed != 0 || paths.empty()) throw UsageError(str("shards: nothing matches ", pattern));
  std::sort(paths.begin(), paths.end());
  out.insert(out.end(), paths.begin(), paths.end());
}

/// The pipe: entry that reads a URL.
std::string pipe_for(const std::string& url) {
  if (url.starts_with("s3://")) return "pipe:aws s3 cp " + url + " -";
  if (url.starts_with("gs://")) return "pipe:gcloud storage cat " + url;
  return "pipe:curl -sS --fail -r {offset}-{end} " + url;
}

void refuse_url(const std::string& pattern) {
  const std::size_t scheme = pattern.find("://");
  if (scheme != std::string::npos && pattern.find('/') > scheme) {
    throw UsageError(str("shards: '", pattern, "' is a URL; with allow_pipe: true, '",
                         pipe_for(pattern), "' reads it"));
  }
}

/// A command with ranges and alternatives expanded; {offset} and {end} stay.
void append_pipe(const std::string& pattern, bool allowed, std::vector<std::string>& out) {
  if (!allowed) {
    throw UsageError(str("shards: '", pattern,
                         "' runs a command: data.allow_pipe: true (--allow-pipe of a tool) allows "
                         "that"));
  }
  std::string text = pattern;
  const auto replace = [](std::string& in, std::string_view what, std::string_view with) {
    for (std::size_t at = in.find(what); at != std::string::npos; at = in.find(what, at + 1)) {
      in.replace(at, what.size(), with);
    }
  };
  replace(text, "{offset}", "\x01");
  replace(text, "{end}", "\x02");
  for (std::string& command : expand_braces(text)) {
    replace(command, "\x01", "{offset}");
    replace(command, "\x02", "{end}");
    out.push_back(std::move(command));
  }
}

void append_pattern(const std::string& pattern, int depth, bool allow_pipe,
                    std::vector<std::string>& out) {
  if (pattern.empty()) throw UsageError("shards: empty entry");
  if (is_pipe(pattern)) {
    append_pipe(pattern, allow_pipe, out);
    return;
  }
  refuse_url(pattern);
  const std::vector<std::string> joined = split_joined(pattern);
  if (joined.size() > 1) {
    for (const std::string& part : joined) append_pattern(part, depth, allow_pipe, out);
    return;
  }
  if (pattern[0] == '@') {
    if (depth > 8) throw UsageError(str("shards: ", pattern, ": lists nest too deep"));
    for (const std::string& line : lines_of(pattern.substr(1))) {
      append_pattern(line, depth + 1, allow_pipe, out);
    }
    return;
  }
  for (const std::string& path : expand_braces(pattern)) {
    if (path.find_first_of("*?[") == std::string::npos) {
      out.push_back(path);
    } else {
      append_glob(path, out);
    }
  }
  if (out.size() > kMaxEntries)
    throw UsageError(str("shards: more than ", kMaxEntries, " entries"));
}

std::string first_five(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamed, names.size()); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return names.size() > kNamed ? text + ", ..." : text;
}

bool is_regular(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace

std::vector<std::string> expand_braces(const std::string& pattern) {
  const std::size_t open = pattern.find('{');
  if (open == std::string::npos) {
    if (pattern.find('}') != std::string::npos) {
      throw UsageError(str("shards: '}' without '{' in '", pattern, "'"));
    }
    return {pattern};
  }
  const std::size_t close = closing_brace(pattern, open);
  const std::string head = pattern.substr(0, open);
  const std::vector<std::string> middle = alternatives(pattern.substr(open + 1, close - open - 1));
  const std::vector<std::string> tail = expand_braces(pattern.substr(close + 1));
  if (middle.size() * tail.size() > kMaxEntries) {
    throw UsageError(str("shards: '", pattern, "' is more than ", kMaxEntries, " entries"));
  }
  std::vector<std::string> results;
  results.reserve(middle.size() * tail.size());
  for (const std::string& m : middle) {
    for (const std::string& t : tail) results.push_back(head + m + t);
  }
  return results;
}

std::vector<std::string> list_shards(const std::vector<std::string>& patterns,
                                     const std::string& missing, const std::string& source,
                                     bool allow_pipe) {
  if (missing != "error" && missing != "skip") {
    throw UsageError(
        str("source ", source, ": missing: '", missing, "' is neither error nor skip"));
  }
  std::vector<std::string> paths;
  for (const std::string& pattern : patterns) append_pattern(pattern, 0, allow_pipe, paths);

  std::unordered_set<std::string> seen;
  std::vector<std::string> present, absent, twice;
  for (std::string& path : paths) {
    if (!seen.insert(path).second) {
      twice.push_back(path);
    } else if (!is_pipe(path) && !is_regular(path)) {
      absent.push_back(path);
    } else {
      present.push_back(std::move(path));
    }
  }
  if (!twice.empty()) {
    throw UsageError(str("source ", source, ": ", twice.size(),
                         " shards are listed twice: ", first_five(twice)));
  }
  if (!absent.empty() && missing == "error") {
    throw UsageError(str("source ", source, ": ", absent.size(), " of ", paths.size(),
                         " shards are missing: ", first_five(absent),
                         "; missing: skip goes on without them"));
  }
  if (present.empty()) throw UsageError(str("source ", source, ": no shard exists"));
  return present;
}

}  // namespace plumbline
