#include "data/sample_copy.h"

#include <algorithm>
#include <mutex>

#include "data/parallel.h"
#include "data/tar_writer.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::uint64_t kPiece = 1024;

std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The sample with another label, and another key for copies.
void write_labelled(const LoadedSample& sample, const ChosenSample& chosen,
                    const TarWriter::Sink& sink) {
  TarWriter tar(sink);
  const SampleGroup& group = sample.parts.group;
  const std::string key = chosen.copy > 0 ? str(group.key, "-", chosen.copy) : group.key;
  const std::span<const std::uint8_t> bytes(sample.bytes);
  for (const GroupMember& member : group.members) {
    if (!chosen.labels.empty() && member.suffix == "cls") continue;
    tar.add(key + "." + member.suffix, text_of(bytes.subspan(member.offset, member.size)));
  }
  std::string cls;
  for (const std::int64_t label : chosen.labels) {
    cls.append(cls.empty() ? "" : " ").append(std::to_string(label));
  }
  if (!cls.empty()) tar.add(key + ".cls", cls);
}

}  // namespace

ShardFolderReport copy_samples(const std::vector<std::unique_ptr<Source>>& sources,
                               const std::vector<ChosenSample>& chosen, const ShardFolder& folder,
                               const Progress& progress) {
  return write_shard_folder(
      folder,
      [&](std::int64_t i, const std::function<void(std::string_view)>& sink) {
        const ChosenSample& c = chosen[static_cast<std::size_t>(i)];
        const Source& source = *sources[c.source];
        std::vector<SampleRef> ref;
        source.find(c.ordinal, 1, ref);
        LoadedSample sample;
        if (!c.labels.empty() || c.copy > 0) {
          load_sample(source, ref[0], sample);
          write_labelled(sample, c, sink);
        } else {
          sample.bytes.resize(ref[0].record.bytes);
          source.read(ref[0], sample.bytes);
          sink(text_of(sample.bytes));
        }
      },
      progress);
}

std::vector<std::unique_ptr<Source>> open_input(const ToolInput& input) {
  DataOptions data;
  data.sources = {input.source};
  data.index_dir = input.index_dir;
  data.allow_pipe = input.allow_pipe;
  return open_sources(data, LoaderContext(),
                      input.threads > 0 ? input.threads : available_threads());
}

void load_sample(const Source& source, const SampleRef& ref, LoadedSample& out) {
  out.ref = ref;
  out.bytes.resize(ref.record.bytes);
  source.read(ref, out.bytes);
  out.bad = source.take_apart(ref, out.bytes, out.parts);
}

void visit_samples(
    const Source& source, int threads, const Progress& progress,
    const std::function<void(std::uint64_t ordinal, const LoadedSample& sample)>& visit) {
  const std::uint64_t n = source.size();
  const auto pieces = static_cast<std::int64_t>((n + kPiece - 1) / kPiece);
  std::mutex mutex;
  std::int64_t done = 0;
  parallel_for(pieces, threads > 0 ? threads : available_threads(), [&](std::int64_t piece) {
    const std::uint64_t first = static_cast<std::uint64_t>(piece) * kPiece;
    std::vector<SampleRef> refs;
    source.find(first, std::min(kPiece, n - first), refs);
    LoadedSample sample;
    for (std::size_t i = 0; i < refs.size(); ++i) {
      load_sample(source, refs[i], sample);
      visit(first + i, sample);
    }
    const std::lock_guard lock(mutex);
    done += std::ssize(refs);
    if (progress) progress(done, static_cast<std::int64_t>(n));
  });
}

}  // namespace plumbline
