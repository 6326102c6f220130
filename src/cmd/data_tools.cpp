#include "cmd/data_tools.h"

#include <iostream>

namespace plumbline {

using Json = nlohmann::ordered_json;

Progress ProgressLine::callback() {
  return [this](std::int64_t done, std::int64_t total) {
    if (signal_.received() != 0) {
      throw Error(str(what_, " was stopped by a signal at ", done, "/", total,
                      "; the same command goes on"),
                  ExitCode::resumable);
    }
    const auto now = std::chrono::steady_clock::now();
    if (!log_.is_terminal() || now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    log_.progress(str(what_, " ", done, "/", total));
  };
}

void ProgressLine::clear() {
  if (log_.is_terminal()) log_.progress("");
}

SourceOptions ShardArguments::source() const {
  SourceOptions source;
  source.name = "shards";
  source.shards = shards;
  return source;
}

ToolInput ShardArguments::input() const { return {source(), index_dir, allow_pipe, threads}; }

CLI::App* add_tool(CLI::App& group, const char* name, const char* help, ShardArguments& a) {
  CLI::App* command = group.add_subcommand(name, help);
  command->add_option("SHARDS", a.shards, "Tar files: braces, globs, @FILE")->required();
  command->add_option("--index-dir", a.index_dir, "Folder of the sidecar indexes");
  command->add_flag("--allow-pipe", a.allow_pipe, "SHARDS may be pipe: commands");
  command->add_option("--threads", a.threads, "0 = all cores");
  command->add_flag("--json", a.json, "One JSON document on stdout");
  return command;
}

void print(const Json& document, bool as_json) {
  if (as_json) {
    std::cout << document.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  for (const auto& [key, value] : document.items()) {
    if (!value.is_array()) {
      std::cout << key << ": " << value.dump() << '\n';
      continue;
    }
    for (const Json& item : value) {
      std::cout << key << ": " << (item.is_string() ? item.get<std::string>() : item.dump())
                << '\n';
    }
  }
}

}  // namespace plumbline
