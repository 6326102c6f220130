// Folders of Hugging Face's CLIPModel.
#pragma once

#include <string>

#include "formats/foreign.h"
#include "formats/openclip.h"

namespace plumbline {

/// config.json of a CLIPModel with model.safetensors (in one file or several) or pytorch_model.bin.
/// Throws UsageError for a folder of another model and for a setting that has no counterpart,
/// naming it; DataError for a damaged file.
[[nodiscard]] ForeignCheckpoint read_hugging_face(const std::string& folder);

/// config.json, model.safetensors, preprocessor_config.json, tokenizer_config.json, vocab.json and
/// merges.txt into an existing folder; `vocabulary` is bpe_simple_vocab_16e6.txt.gz. Throws
/// UsageError listing everything in the model that CLIPModel does not have.
void write_hugging_face(const std::string& folder, const ExportedModel& model,
                        const std::string& vocabulary);

}  // namespace plumbline
