// Why a sample was refused. The run counts it, puts another in its row and goes on.
#pragma once

#include <string>
#include <string_view>

namespace plumbline {

enum class BadSampleClass {
  io,             ///< read failed after retries
  truncated_tar,  ///< the shard ends inside or before a complete sample
  bad_header,     ///< tar header with a wrong checksum or size
  no_image,
  no_text,
  empty_text,   ///< empty after strip
  decode,       ///< corrupt image
  too_large,    ///< over the limits on pixels, bytes or members
  unsupported,  ///< neither JPEG, PNG nor WebP
  tokenizer,    ///< invalid UTF-8 or JSON
  no_label,
};
inline constexpr int kBadSampleClasses = 11;

/// The name of the class as it stands in logs and in quarantine.jsonl.
[[nodiscard]] constexpr std::string_view name_of(BadSampleClass c) {
  constexpr std::string_view kNames[kBadSampleClasses] = {
      "io",     "truncated_tar", "bad_header",  "no_image",  "no_text", "empty_text",
      "decode", "too_large",     "unsupported", "tokenizer", "no_label"};
  return kNames[static_cast<int>(c)];
}

struct BadSample {
  BadSampleClass reason;
  std::string message;  ///< one sentence with the values
};

}  // namespace plumbline
