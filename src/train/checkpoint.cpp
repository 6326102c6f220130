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
#include "train/progress.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFormatVersion = 1;
constexpr char kModelFile[] = "model.safetensors";
constexpr char kOptimizerPrefix[] = "optimizer-";
constexpr char kEmaFile[] = "model_ema.safetensors";  // with train.ema only
constexpr char kStateFile[] = "state.json";
constexpr char kManifestFile[] = "manifest.json";
constexpr char kBestFile[] = "best.json";

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

CheckpointFile describe_file(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  return {name, static_cast<std::int64_t>(fs::file_size(path)), file_checksum(path)};
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

}  // namespace

std::int64_t step_of_checkpoint(const std::string& folder) {
  return std::stoll(fs::path(folder).filename().string().substr(5));
}

std::string checkpoint_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08lld", static_cast<long long>(step));
  return name;
}

std::string clear_checkpoint(const std::string& dir, std::int64_t step) {
  const std::string folder = dir + "/" + checkpoint_name(step);
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw Error(str("cannot create the checkpoint ", folder, ": ", failed.message()));
  // An older manifest would vouch for files that are about to change.
  fs::remove(folder + "/" + kManifestFile, failed);
  fs::remove_all(folder, failed);
  fs::create_directories(folder, failed);
  if (failed) throw Error(str("cannot create the checkpoint ", folder, ": ", failed.message()));
  return folder;
}

std::vector<CheckpointFile> write_moments(const std::string& folder, const Moments& moments,
                                          int rank, int world) {
  if (moments.tensors.empty()) return {};
  const std::string name = moments_file_name(rank, world);
  write_safetensors(folder + "/" + name, to_file(moments));
  return {describe_file(folder, name)};
}

std::vector<CheckpointFile> write_model(const std::string& folder, const Checkpoint& checkpoint) {
  write_safetensors(folder + "/" + kModelFile, {checkpoint.model, {}});
  if (!checkpoint.ema.empty()) {
    write_safetensors(folder + "/" + kEmaFile, {checkpoint.ema, {}});
  }
  write_file_atomically(folder + "/" + kStateFile, progress_json(checkpoint.progress));
  std::vector<CheckpointFile> files = {describe_file(folder, kModelFile),
                                       describe_file(folder, kStateFile)};
  if (!checkpoint.ema.empty()) files.push_back(describe_file(folder, kEmaFile));
  return files;
}

std::int64_t complete_checkpoint(const std::string& dir, const CheckpointTitle& title,
                                 const std::vector<CheckpointFile>& files) {
  const std::string name = checkpoint_name(title.step), folder = dir + "/" + name;
  Json list = Json::array();
  std::int64_t bytes = 0;
  for (const CheckpointFile& file : files) {
    list.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_64", file.xxh3_64}});
    bytes += file.bytes;
  }
  const Json manifest = {{"format", "plumbline-checkpoint"},
                         {"version", kFormatVersion},
                         {"step", title.step},
                         {"samples", title.samples},
                         {"model", Json::parse(title.model_json)},
                         {"config", title.config_yaml},
                         {"files", list}};
  write_file_atomically(folder + "/" + kManifestFile, manifest.dump(2) + "\n");
  sync_folder(dir);
  write_file_atomically(dir + "/latest", name + "\n");
  return bytes;
}

void discard_checkpoint(const std::string& dir, std::int64_t step) {
  const std::string folder = dir + "/" + checkpoint_name(step);
  std::error_code failed;
  fs::remove(folder + "/" + kManifestFile, failed);
  fs::remove_all(folder, failed);  // half a checkpoint must not take the space of a whole one
}

std::int64_t write_checkpoint(const std::string& dir, const Checkpoint& checkpoint) {
  const RunProgress& progress = checkpoint.progress;
  const std::string folder = clear_checkpoint(dir, progress.step);
  try {
    std::vector<CheckpointFile> files = write_model(folder, checkpoint);
    const std::vector<CheckpointFile> moments =
        write_moments(folder, {checkpoint.optimizer, {}}, 0, 1);
    files.insert(files.end(), moments.begin(), moments.end());
    return complete_checkpoint(
        dir, {progress.step, progress.samples, checkpoint.config_yaml, checkpoint.model_json},
        files);
  } catch (...) {
    discard_checkpoint(dir, progress.step);
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
    checkpoint.progress = parse_progress(read_file(folder + "/" + kStateFile));
  } catch (const Json::exception& e) {
    throw DataError(str("checkpoint ", folder, ": ", e.what()));
  }
  checkpoint.model = read_safetensors(folder + "/" + kModelFile).tensors;
  std::vector<std::string> moments;
  for (const Json& file : manifest.at("files")) {
    const std::string name = file["name"];
    if (name == kEmaFile) checkpoint.ema = read_safetensors(folder + "/" + name).tensors;
    if (name.starts_with(kOptimizerPrefix)) moments.push_back(folder + "/" + name);
  }
  if (with_optimizer) checkpoint.optimizer = read_moments(moments, checkpoint.model);
  return checkpoint;
}

std::vector<std::string> list_checkpoints(const std::string& dir) {
  std::vector<std::string> folders;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    if (entry.is_directory() && is_step_folder(entry.path())) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end(), [](const std::string& a, const std::string& b) {
    return step_of_checkpoint(a) > step_of_checkpoint(b);
  });
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

std::optional<BestCheckpoint> read_best(const std::string& dir, const std::string& metric) {
  const std::string path = str(dir, "/", kBestFile);
  if (!fs::exists(path)) return std::nullopt;
  const Json j = Json::parse(read_file(path), nullptr, false);
  if (!j.is_object() || j.value("metric", "") != metric) return std::nullopt;
  return BestCheckpoint{metric, j.value("value", 0.0), j.value("step", std::int64_t{-1})};
}

void write_best(const std::string& dir, const BestCheckpoint& best) {
  const Json j = {{"metric", best.metric}, {"value", best.value}, {"step", best.step}};
  write_file_atomically(str(dir, "/", kBestFile), j.dump() + "\n");
}

void prune_checkpoints(const std::string& dir, int keep_last, std::int64_t keep_every,
                       std::int64_t keep_step) {
  int kept = 0;
  std::int64_t newest = -1;
  for (const std::string& folder : list_checkpoints(dir)) {
    const bool complete = fs::exists(folder + "/" + kManifestFile);
    if (!complete && newest < 0) continue;  // perhaps being written
    if (complete) newest = std::max(newest, step_of_checkpoint(folder));
    const std::int64_t step = step_of_checkpoint(folder);
    const bool kept_for_good = (keep_every > 0 && step % keep_every == 0) || step == keep_step;
    if (complete && (kept++ < keep_last || kept_for_good)) continue;
    std::error_code failed;
    fs::remove(folder + "/" + kManifestFile, failed);  // manifest first: never half a checkpoint
    fs::remove_all(folder, failed);
  }
  std::error_code failed;
  std::vector<fs::path> outdated;
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    const fs::path& path = entry.path();
    if (path.extension() == ".corrupt" && is_step_folder(path.stem()) &&
        step_of_checkpoint(path.stem().string()) < newest) {
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
