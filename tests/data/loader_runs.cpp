#include "tests/data/loader_runs.h"

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {

void write_shards(const TempFolder& folder) {
  for (int s = 0; s < 3; ++s) {
    folder.write(str(s, ".tar"), tar_of(samples_of("k", 40, 40 * s)));
  }
}

DataOptions shard_options(const TempFolder& folder) {
  DataOptions options;
  SourceOptions source;
  source.name = "pictures";
  source.shards = {folder / "{0..2}.tar"};
  options.sources = {source};
  options.lanes = 4;
  options.vshard = 8;
  options.threads = 2;
  options.memory_mb = 600;
  return options;
}

LoaderContext context_of(int rank, int world) {
  LoaderContext context;
  context.seed = 42;
  context.global_batch = 16;
  context.rank = rank;
  context.world = world;
  context.preprocess.height = context.preprocess.width = 24;
  static const ByteTokenizer tokenizer;
  context.tokenizer = &tokenizer;
  return context;
}

Delivered deliver(const DataOptions& options, int steps) {
  Loader loader(options, context_of());
  Delivered result;
  for (int k = 0; k < steps; ++k) {
    const Batch* batch = loader.next();
    for (const Row& row : batch->row) result.keys.push_back(row.key);
    loader.release(batch);
  }
  result.state = loader.state();
  return result;
}

std::vector<std::string> rows_of(const DataOptions& options, int steps, int world,
                                 const std::optional<LoaderState>& from, LoaderState* end) {
  std::vector<std::string> rows(static_cast<std::size_t>(steps * 16));
  for (int rank = 0; rank < world; ++rank) {
    Loader loader(options, context_of(rank, world), from);
    for (int k = 0; k < steps; ++k) {
      const Batch* batch = loader.next();
      const auto n = static_cast<std::size_t>(batch->rows);
      const std::size_t pixels = batch->pixels_BHWC.size() / n;
      const std::size_t ids = batch->tokens_BL.size() / n;
      for (std::size_t i = 0; i < n; ++i) {
        const Row& row = batch->row[i];
        const auto image = batch->pixels_BHWC.subspan(i * pixels, pixels);
        std::string text(reinterpret_cast<const char*>(image.data()), image.size());
        text += str(row.position, " ", row.key, " ", row.substitute, " ", batch->step);
        for (const std::int32_t id : batch->tokens_BL.subspan(i * ids, ids)) text += str(" ", id);
        rows[static_cast<std::size_t>(k * 16) + static_cast<std::size_t>(rank) * n + i] =
            str(row.key, " ", sha256_hex(text));
      }
      loader.release(batch);
    }
    if (end) *end = loader.state();
  }
  return rows;
}

DataOptions synthetic_options(const char* kind) {
  DataOptions options;
  SourceOptions source;
  source.name = "made-up";
  source.synthetic = kind;
  source.synthetic_samples = 1000;
  source.synthetic_size = 48;
  options.sources = {source};
  options.threads = 2;
  options.memory_mb = 600;
  return options;
}

}  // namespace plumbline
