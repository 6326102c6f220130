// `plumbline bench NAME`: our speed beside the limit of the machine and the peer's, in one run.
#include "cmd/bench.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cmd/command.h"
#include "core/file.h"

namespace plumbline {
namespace {

using Json = nlohmann::ordered_json;

struct Bench {
  const char* name;
  const char* help;
  const char* input;
  BenchFunction run;
};

constexpr Bench kBenches[] = {
    {"comm", "Collectives between ranks: under mpirun its ranks, else two threads",
     "Bytes a rank, as 1024,1048576; 1 KiB, 1 MiB and 32 MiB without it", bench_comm},
    {"loader", "Tar shards to batches of pixels and ids on one core",
     "Shards to read, as braces or globs; generated ones without it", bench_loader},
    {"loss", "Contrastive loss, forward and backward, on one core", "None: it makes its own",
     bench_loss},
    {"preprocess", "Decode and transform of photographs on one core",
     "A text file with a JPEG path a line; generated pictures without it", bench_preprocess},
    {"step", "Whole training steps, fp32 and bf16, all threads",
     "Name or path of a model; ViT-B-32 without it", bench_step},
    {"tokenize", "Captions to CLIP ids on one core",
     "A file with a caption a line; class names in templates without it", bench_tokenize},
};

[[nodiscard]] double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// "1234 images/s", or "-".
[[nodiscard]] std::string amount(const Json& value, const std::string& unit) {
  if (!value.is_number()) return "-";
  std::array<char, 64> text{};
  const double number = value.get<double>();
  std::snprintf(text.data(), text.size(), number < 100 ? "%.2f" : "%.0f", number);
  return unit.empty() ? text.data() : str(text.data(), " ", unit);
}

void print_figure(const Json& f) {
  const std::string unit = f["unit"].get<std::string>() + "/s";
  const auto text = [&f](const char* key) { return f[key].get<std::string>(); };
  std::cout << text("name") << '\n' << "  input: " << text("input") << '\n';
  std::cout << "  plumbline: " << amount(f["ours"]["cpu"], unit) << " of CPU time, "
            << amount(f["ours"]["wall"], unit) << " by the clock\n";
  std::cout << "  " << text("peer_name") << ": ";
  if (f["peer"].is_null()) {
    std::cout << "not measured: " << text("peer_absent") << '\n';
  } else {
    std::cout << amount(f["peer"]["cpu"], unit) << " of CPU time, "
              << amount(f["peer"]["wall"], unit) << " by the clock; ours is "
              << amount(f["of_peer"], "") << " times it; results "
              << (f["equal"].is_null()     ? "not compared"
                  : f["equal"].get<bool>() ? "equal"
                                           : "DIFFER")
              << '\n';
  }
  std::cout << "  limit (" << text("limit_name") << "): " << amount(f["limit"], unit);
  if (f["of_limit"].is_number()) std::cout << "; ours is " << amount(f["of_limit"], "") << " of it";
  std::cout << '\n';
}

ExitCode run_bench(const Bench& bench, const BenchOptions& options, bool json) {
  const Json document = bench.run(options);
  if (document.is_null()) return ExitCode::done;
  if (json) {
    std::cout << document.dump(2) << '\n';
  } else {
    for (const Json& figure : document["figures"]) print_figure(figure);
  }
  return ExitCode::done;
}

}  // namespace

Rate measure(double seconds, double units, const std::function<void()>& once) {
  once();
  const double cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID), wall = seconds_of(CLOCK_MONOTONIC);
  double done = 0, cpu_s = 0, wall_s = 0;
  do {
    once();
    done += units;
    cpu_s = seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
    wall_s = seconds_of(CLOCK_MONOTONIC) - wall;
  } while (wall_s < seconds || cpu_s <= 0);
  return {done / cpu_s, done / wall_s};
}

Json run_peer(const std::string& program, const std::string& arguments, std::string& why) {
  const std::string python = ".venv/bin/python";
  if (!std::filesystem::exists(python)) {
    why = str("no ", python, " in the working directory; launch/setup.sh makes it");
    return nullptr;
  }
  const ScratchFolder scratch;
  const std::string script = scratch.path() + "/peer.py";
  write_file_atomically(script, program);
  const std::string command =
      str("OMP_NUM_THREADS=1 ", python, " -W ignore '", script, "' ", arguments, " 2>&1");
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  if (pipe == nullptr) throw Error(str("cannot start ", python));
  std::string output;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe.get())) {
    output.append(part.data(), n);
  }
  while (output.ends_with('\n')) output.pop_back();
  const std::string last = output.substr(output.rfind('\n') + 1);
  Json document = Json::parse(last, nullptr, /*allow_exceptions=*/false);
  if (document.is_object() && document.contains("cpu")) return document;
  why = str(python, " failed: ", last);
  return nullptr;
}

Json make_figure(Json head, const Rate& ours, double limit, const Json& peer,
                 const std::string& why, const std::string& result) {
  head["ours"] = {{"cpu", ours.cpu}, {"wall", ours.wall}};
  head["peer"] = nullptr;
  head["of_peer"] = nullptr;
  head["equal"] = nullptr;
  if (peer.is_object()) {
    head["peer"] = {{"cpu", peer["cpu"]}, {"wall", peer["wall"]}};
    head["of_peer"] = ours.cpu / peer["cpu"].get<double>();
    head["equal"] = peer["result"].get<std::string>() == result;
  } else {
    head["peer_absent"] = why;
  }
  head["limit"] = limit > 0 ? Json(limit) : Json(nullptr);
  head["of_limit"] = limit > 0 ? Json(ours.cpu / limit) : Json(nullptr);
  return head;
}

ScratchFolder::ScratchFolder() {
  path_ = (std::filesystem::temp_directory_path() / "plumbline-bench-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) throw Error(str("cannot make the folder ", path_));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void add_bench(CLI::App& app, CommandContext& context) {
  CLI::App* group = app.add_subcommand("bench", "Speed beside the machine's limit and the peer's");
  group->require_subcommand(1);
  for (const Bench& bench : kBenches) {
    auto options = std::make_shared<BenchOptions>();
    auto json = std::make_shared<bool>(false);
    CLI::App* c = group->add_subcommand(bench.name, bench.help);
    c->add_option("--input", options->input, bench.input);
    c->add_option("--seconds", options->seconds, "At least so long a figure")
        ->check(CLI::Range(0.001, 600.0))
        ->capture_default_str();
    c->add_flag("--json", *json, "One JSON document on stdout");
    options->mpi = &context.mpi;
    c->callback([&bench, options, json, &context] {
      context.action = [&bench, options, json] { return run_bench(bench, *options, *json); };
    });
  }
}

}  // namespace plumbline
