// `bench tokenize`: captions to CLIP ids, beside OpenCLIP's SimpleTokenizer.
#include <fstream>
#include <sstream>

#include "cmd/bench.h"
#include "core/assets.h"
#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/tokenizer.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

// argv: file with a caption a line, seconds. "result" is the digest of the int32 rows.
constexpr const char* kPeer = R"(
import hashlib, json, sys, time
from open_clip.tokenizer import SimpleTokenizer

lines = open(sys.argv[1], encoding="utf-8", newline="\n").read().split("\n")[:-1]
seconds = float(sys.argv[2])
tokenizer = SimpleTokenizer()
digest, tokens = hashlib.sha256(), 0
for line in lines:
    digest.update(tokenizer(line).int().numpy().tobytes())
    tokens += len(tokenizer.encode(line)) + 2
done, cpu, wall = 0, time.process_time(), time.perf_counter()
while time.perf_counter() - wall < seconds or done == 0:
    for line in lines:
        tokenizer(line)
    done += tokens
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": done / cpu, "wall": done / wall, "result": digest.hexdigest()}))
)";

[[nodiscard]] std::vector<std::string> lines_of(const std::string& path) {
  std::istringstream in(read_file(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

/// Every class name in four of the templates, other ones from name to name.
[[nodiscard]] std::vector<std::string> class_captions() {
  const std::vector<std::string> names = lines_of(find_asset("imagenet_classnames.txt"));
  const std::vector<std::string> templates = lines_of(find_asset("templates/openai80.txt"));
  std::vector<std::string> captions;
  for (std::size_t i = 0; i < 4 * names.size(); ++i) {
    std::string caption = templates[i * 7 % templates.size()];
    if (const auto at = caption.find("{c}"); at != std::string::npos) {
      caption.replace(at, 3, names[i % names.size()]);
    }
    captions.push_back(std::move(caption));
  }
  return captions;
}

}  // namespace

Json bench_tokenize(const BenchOptions& options) {
  const bool own = options.input.empty();
  const std::vector<std::string> captions = own ? class_captions() : lines_of(options.input);
  if (captions.empty()) throw UsageError(options.input + " holds no caption");
  // A literal <end_of_text> becomes the special id there.
  const auto tokenizer = make_tokenizer({.special_text = "openclip"});
  std::vector<std::int32_t> row(static_cast<std::size_t>(tokenizer->context_length()));
  std::string rows, text;
  double tokens = 0;
  for (const std::string& caption : captions) {
    tokens += tokenizer->encode(caption, row);
    rows.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof row[0]);
    text += caption + '\n';
  }
  const Rate ours = measure(options.seconds, tokens, [&] {
    for (const std::string& caption : captions) (void)tokenizer->encode(caption, row);
  });
  const ScratchFolder folder;
  const std::string file = folder.path() + "/captions.txt";
  write_file_atomically(file, text);
  std::string why;
  const Json peer = run_peer(kPeer, str("'", file, "' ", options.seconds), why);
  Json head = {{"name", "CLIP tokenizer"},
               {"input", str(captions.size(), " captions, ", tokens, " ids with the special ones: ",
                             own ? "ImageNet class names in CLIP's templates" : options.input)},
               {"unit", "ids"},
               {"peer_name", "OpenCLIP's SimpleTokenizer"},
               {"limit_name", "none known: merges depend on the text"}};
  return {{"bench", "tokenize"},
          {"figures",
           Json::array({make_figure(std::move(head), ours, 0, peer, why, sha256_hex(rows))})}};
}

}  // namespace plumbline
