// The `shards:` value of a source: braces, globs, @FILE and `::` to a list of shard paths.
#pragma once

#include <string>
#include <vector>

namespace plumbline {

/// {00000..41455} (keeps leading zeros), {a,b}, nested. Throws UsageError for unbalanced braces or
/// more than 10 million results.
[[nodiscard]] std::vector<std::string> expand_braces(const std::string& pattern);

/// Joins the patterns in order: `::` separates patterns inside one string, @FILE is a pattern a
/// line, `*` and `?` match local files in bytewise order. `missing` = "skip" drops paths that do
/// not exist; otherwise they, and shards listed twice, are a UsageError naming the first five.
/// `pipe:CMD` is an entry of its own, to its end; its ranges and alternatives are expanded,
/// {offset} and {end} are not. Without `allow_pipe` it is a UsageError, like a bare URL always (the
/// message then shows the pipe). `source` names the source in messages.
[[nodiscard]] std::vector<std::string> list_shards(const std::vector<std::string>& patterns,
                                                   const std::string& missing,
                                                   const std::string& source,
                                                   bool allow_pipe = false);

}  // namespace plumbline
