// kind `sentencepiece`: SigLIP, SigLIP2, MetaCLIP2. The library does the segmentation.
#include <sentencepiece_processor.h>

#include <algorithm>

#include "core/file.h"
#include "plumbline/error.h"
#include "text/tokenizers.h"
#include "text/utf8.h"

namespace plumbline {
namespace {

class SentencepieceTokenizer final : public Tokenizer {
 public:
  SentencepieceTokenizer(const TokenizerOptions& options, CleanMode clean)
      : options_(options), clean_(clean) {
    const auto status = processor_.LoadFromSerializedProto(read_file(options.path));
    if (!status.ok()) {
      throw DataError(str("tokenizer model ", options.path, ": ", status.ToString()));
    }
    const int last = processor_.GetPieceSize() - 1 + options.id_offset;
    vocab_size_ =
        1 + std::max({last, options.bos_id, options.eos_id, options.pad_id, options.unk_id});
    if (options.pad_id < 0 || options.id_offset < 0) {
      throw UsageError(str("tokenizer pad_id ", options.pad_id, " and id_offset ",
                           options.id_offset, " must not be negative"));
    }
  }

  [[nodiscard]] int context_length() const override { return options_.context_length; }
  [[nodiscard]] int vocab_size() const override { return vocab_size_; }

  int encode(std::string_view caption, std::span<std::int32_t> ids_L) const override {
    require(ids_L.size() == static_cast<std::size_t>(options_.context_length),
            "a row of ids has context_length places");
    const std::string text = encode_utf8(clean_text(caption, clean_));
    std::vector<int> ids;
    const auto status = processor_.Encode(text, &ids);
    if (!status.ok()) throw InternalError(str("sentencepiece: ", status.ToString()));
    for (int& id : ids) {
      const bool unknown = id == processor_.unk_id() && options_.unk_id >= 0;
      id = unknown ? options_.unk_id : id + options_.id_offset;
    }
    return fill_row(ids, options_.bos_id, options_.eos_id, options_.pad_id, ids_L);
  }

 private:
  TokenizerOptions options_;
  CleanMode clean_;
  sentencepiece::SentencePieceProcessor processor_;
  int vocab_size_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(const TokenizerOptions& options,
                                                        CleanMode clean) {
  return std::make_unique<SentencepieceTokenizer>(options, clean);
}

}  // namespace plumbline
