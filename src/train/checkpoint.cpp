#include "train/checkpoint.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "plumbline/error.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormatVersion = 1;
constexpr char kModelFile[] = "model.safetensors";
constexpr char kOptimizerFile[] = "optimizer-00000-of-00001.safetensors";
constexpr char kEmaFile[] = "model_ema.safetensors";  // with train.ema only
constexpr char kStateFile[] = "state.json";
constexpr char kManifestFile[] = "manifest.json";

/// XXH3-64 of a file's bytes, as 16 hexadecimal digits.
std::string file_checksum(const std::string& path) {
  Handle<FILE, std::fclose> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw DataError(str("cannot open ", path));
  Handle<XXH3_state_t, XXH3_freeState> state(XXH3_createState());
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(1 << 20);
  std::size_t n = 0;
  while ((n = std::fread(buffer.data(), 1, buffer.size(), file.get())) > 0) {
    XXH3_64bits_update(state.get(), buffer.data(), n);
  }
  if (std::ferror(file.get())) throw DataError(str("cannot read ", path));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(XXH3_64bits_digest(state.get())));
  return text;
}

Json to_json(const RunProgress& p) {
  return {{"step", p.step},
          {"samples", p.samples},
          {"applied_steps", p.applied_steps},
          {"skipped_steps", p.skipped_steps},
          {"loader",
           {{"position", p.loader.position},
            {"epoch", p.loader.epoch},
            {"fingerprint", p.loader.fingerprint},
            {"seed", p.loader.seed},
            {"lanes", p.loader.lanes}}}};
}

RunProgress progress_from(const Json& j) {
  RunProgress p;
  p.step = j.at("step");
  p.samples = j.at("samples");
  p.applied_steps = j.at("applied_steps");
  p.skipped_steps = j.at("skipped_steps");
  const Json& loader = j.at("loader");
  p.loader.position = loader.at("position");
  p.loader.epoch = loader.at("epoch");
  p.loader.fingerprint = loader.at("fingerprint");
  p.loader.seed = loader.at("seed");
  p.loader.lanes = loader.at("lanes");
  return p;
}

Json manifest_of(const std::string& folder, const Checkpoint& checkpoint) {
  Json files = Json::array();
  std::vector<std::string> names = {kModelFile, kOptimizerFile, kStateFile};
  if (!checkpoint.ema.empty()) names.emplace_back(kEmaFile);
  for (const std::string& name : names) {
    const std::string path = folder + "/" + name;
    files.push_back(
        {{"name", name}, {"bytes", fs::file_size(path)}, {"xxh3_64", file_checksum(path)}});
  }
  return {{"format", "plumbline-checkpoint"},
          {"version", kFormatVersion},
          {"step", checkpoint.progress.step},
          {"samples", checkpoint.progress.samples},
          {"model", Json::parse(checkpoint.model_json)},
          {"config", checkpoint.config_yaml},
          {"files", files}};
}

Json read_manifest(const std::string& folder) {
  const std::string path = folder + "/" + kManifestFile;
  try {
    Json manifest = Json::parse(read_file(path));
    if (manifest.at("format") != "plumbline-checkpoint" ||
        manifest.at("version") != kFormatVersion) {
      throw DataError(str(path, ": not a plumbline checkpoint of version ", kFormatVersion));
    }
    return manifest;
  } catch (const Json::exception& e) {
    throw DataError(str(path, ": not a manifest: ", e.what()));
  }
}

bool is_step_folder(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.size() >= 13 && name.size() <= 23 && name.starts_with("step-") &&
         std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::int64_t step_of(const std::string& folder) {
  return std::stoll(fs::path(folder).filename().string().substr(5));
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

std::int64_t write_checkpoint(const std::string& dir, const Checkpoint& checkpoint) {
  const std::string name = checkpoint_name(checkpoint.progress.step);
  const std::string folder = dir + "/" + name;
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw Error(str("cannot create the checkpoint ", folder, ": ", failed.message()));
  // An older manifest would vouch for files that are about to change.
  fs::remove(folder + "/" + kManifestFile, failed);
  fs::remove_all(folder, failed);
  fs::create_directories(folder, failed);
  if (failed) throw Error(str("cannot create the checkpoint ", folder, ": ", failed.message()));
  try {
    write_safetensors(folder + "/" + kModelFile, {checkpoint.model, {}});
    write_safetensors(folder + "/" + kOptimizerFile, {checkpoint.optimizer, {}});
    if (!checkpoint.ema.empty()) {
      write_safetensors(folder + "/" + kEmaFile, {checkpoint.ema, {}});
    }
    write_file_atomically(folder + "/" + kStateFile, to_json(checkpoint.progress).dump(2) + "\n");
    const Json manifest = manifest_of(folder, checkpoint);
    write_file_atomically(folder + "/" + kManifestFile, manifest.dump(2) + "\n");
    sync_folder(dir);
    write_file_atomically(dir + "/latest", name + "\n");
    std::int64_t bytes = 0;
    for (const Json& file : manifest.at("files")) bytes += file.at("bytes").get<std::int64_t>();
    return bytes;
  } catch (...) {
    fs::remove_all(folder, failed);  // half a checkpoint must not take the space of a whole one
    throw;
  }
}

std::string verify_checkpoint(const std::string& folder) {
  try {
    const Json manifest = read_manifest(folder);
    for (const Json& file : manifest.at("files")) {
      const std::string path = folder + "/" + file.at("name").get<std::string>();
      std::error_code failed;
      const auto bytes = fs::file_size(path, failed);
      if (failed) return str(path, " is missing");
      if (bytes != file.at("bytes").get<std::uintmax_t>()) {
        return str(path, " has ", bytes, " bytes, the manifest says ", file.at("bytes").dump());
      }
      if (file_checksum(path) != file.at("xxh3_64").get<std::string>()) {
        return str(path, " does not have the checksum of the manifest");
      }
    }
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

Checkpoint read_checkpoint(const std::string& folder, bool with_optimizer) {
  if (const std::string problem = verify_checkpoint(folder); !problem.empty()) {
    throw DataError(str("checkpoint ", folder, " is damaged: ", problem));
  }
  const Json manifest = read_manifest(folder);
  Checkpoint checkpoint;
  try {
    checkpoint.model_json = manifest.at("model").dump();
    checkpoint.config_yaml = manifest.at("config").get<std::string>();
    checkpoint.progress = progress_from(Json::parse(read_file(folder + "/" + kStateFile)));
  } catch (const Json::exception& e) {
    throw DataError(str("checkpoint ", folder, ": ", e.what()));
  }
  checkpoint.model = read_safetensors(folder + "/" + kModelFile).tensors;
  const Json& files = manifest.at("files");
  if (std::any_of(files.begin(), files.end(),
                  [](const Json& f) { return f["name"] == kEmaFile; })) {
    checkpoint.ema = read_safetensors(folder + "/" + kEmaFile).tensors;
  }
  if (with_optimizer)
    checkpoint.optimizer = read_safetensors(folder + "/" + kOptimizerFile).tensors;
  return checkpoint;
}

std::vector<std::string> list_checkpoints(const std::string& dir) {
  std::vector<std::string> folders;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    if (entry.is_directory() && is_step_folder(entry.path())) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end(),
            [](const std::string& a, const std::string& b) { return step_of(a) > step_of(b); });
  return folders;
}

std::optional<std::string> newest_checkpoint(
    const std::string& dir, const std::function<void(const std::string&)>& report) {
  bool damaged = false;
  for (const std::string& folder : list_checkpoints(dir)) {
    const std::string problem = verify_checkpoint(folder);
    if (problem.empty()) return folder;
    std::error_code failed;
    if (!fs::exists(folder + "/" + kManifestFile)) {
      // The write was cut short: nothing was promised, nothing is lost.
      report(str("checkpoint ", folder, " was never completed and is removed"));
      fs::remove_all(folder, failed);
      continue;
    }
    damaged = true;
    report(str("checkpoint ", folder, " is not usable: ", problem));
    fs::remove_all(folder + ".corrupt", failed);
    fs::rename(folder, folder + ".corrupt", failed);
  }
  // Those of an earlier start count too: else the second start would begin anew over the run.
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    const fs::path& path = entry.path();
    damaged |= path.extension() == ".corrupt" && fs::exists(path / kManifestFile);
  }
  if (damaged) {
    throw DataError(str("no intact checkpoint in ", dir,
                        ": the damaged ones are kept as *.corrupt; start anew in another run.dir"));
  }
  return std::nullopt;
}

void prune_checkpoints(const std::string& dir, int keep_last, std::int64_t keep_every) {
  int kept = 0;
  std::int64_t newest = -1;
  for (const std::string& folder : list_checkpoints(dir)) {
    const bool complete = fs::exists(folder + "/" + kManifestFile);
    if (!complete && newest < 0) continue;  // perhaps being written
    if (complete) newest = std::max(newest, step_of(folder));
    if (complete && (kept++ < keep_last || (keep_every > 0 && step_of(folder) % keep_every == 0))) {
      continue;
    }
    std::error_code failed;
    fs::remove(folder + "/" + kManifestFile, failed);  // manifest first: never half a checkpoint
    fs::remove_all(folder, failed);
  }
  std::error_code failed;
  std::vector<fs::path> outdated;
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    const fs::path& path = entry.path();
    if (path.extension() == ".corrupt" && is_step_folder(path.stem()) &&
        step_of(path.stem().string()) < newest) {
      outdated.push_back(path);  // an intact newer one stands in its place
    }
  }
  for (const fs::path& path : outdated) fs::remove_all(path, failed);
}

std::string resolve_checkpoint(const std::string& path) {
  if (fs::is_regular_file(path) && (path.ends_with(kModelFile) || path.ends_with(kEmaFile))) {
    return fs::absolute(path).parent_path().string();
  }
  if (fs::exists(path + "/" + kManifestFile)) return path;
  for (const std::string& dir : {path + "/checkpoints", path}) {
    for (const std::string& folder : list_checkpoints(dir)) {
      if (fs::exists(folder + "/" + kManifestFile)) return folder;
    }
  }
  throw UsageError(str(path,
                       ": no checkpoint there (a folder with manifest.json, a run folder, or "
                       "its checkpoints/)"));
}

}  // namespace plumbline
