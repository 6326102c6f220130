#include "log/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "plumbline/error.h"

namespace plumbline {

struct Log::State {
  std::shared_ptr<spdlog::logger> file;
  bool terminal = false;
  bool tty = false;
  bool colour = false;
  mutable bool progress_shown = false;

  void say(const char* colour_code, const std::string& prefix, const std::string& line) const {
    if (!terminal) return;
    const char* clear = progress_shown ? "\r\033[K" : "";
    progress_shown = false;
    if (colour && *colour_code != '\0') {
      std::fprintf(stderr, "%s%s%s\033[0m%s\n", clear, colour_code, prefix.c_str(), line.c_str());
    } else {
      std::fprintf(stderr, "%s%s%s\n", clear, prefix.c_str(), line.c_str());
    }
  }
};

Log::Log(const std::string& file, bool terminal) : state_(std::make_unique<State>()) {
  state_->terminal = terminal;
  state_->tty = ::isatty(STDERR_FILENO) == 1;
  state_->colour = state_->tty && std::getenv("NO_COLOR") == nullptr;
  if (file.empty()) return;
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
    state_->file = std::make_shared<spdlog::logger>("plumbline", sink);
    state_->file->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    state_->file->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& e) {
    throw Error(str("cannot write the log ", file, ": ", e.what()));
  }
}

Log::~Log() {
  if (state_) progress("");
}
Log::Log(Log&&) noexcept = default;

void Log::info(const std::string& line) const {
  if (state_->file) state_->file->info("{}", line);
  state_->say("", "", line);
}

void Log::warn(const std::string& line) const {
  if (state_->file) state_->file->warn("{}", line);
  state_->say("\033[33m", "warning: ", line);
}

void Log::error(const std::string& line) const {
  if (state_->file) state_->file->error("{}", line);
  state_->say("\033[31m", "error: ", line);
}

void Log::progress(const std::string& line) const {
  if (!state_->terminal) return;
  if (state_->tty) {
    if (line.empty() && !state_->progress_shown) return;
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    state_->progress_shown = !line.empty();
  } else if (!line.empty()) {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

bool Log::is_terminal() const { return state_->terminal && state_->tty; }

std::string format_duration(double seconds) {
  const auto total = static_cast<long>(std::lround(seconds < 0 ? 0 : seconds));
  char text[32];
  if (total >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", total / 60, total % 60);
  }
  return text;
}

}  // namespace plumbline
