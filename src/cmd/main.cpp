// argv -> one command -> one exit code. The only place where errors become messages.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>

#include "cmd/command.h"
#include "dist/agree.h"
#include "dist/launch_environment.h"

namespace plumbline {
namespace {

void print_error(const std::string& what) {
  const bool colour = ::isatty(STDERR_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  // LibTorch ends its messages with a stack trace.
  const std::string sentence = what.substr(0, what.find("\nException raised from"));
  std::fprintf(stderr, "%serror:%s %s\n", colour ? "\033[31m" : "", colour ? "\033[0m" : "",
               sentence.c_str());
}

/// An error that the ranks did not agree on: the others may wait in a collective, so the whole job
/// ends with this code instead of hanging.
[[noreturn]] void end_job(const CommandContext& context, ExitCode code) {
  std::fflush(nullptr);
  if (context.mpi.launched()) context.mpi.abort(static_cast<int>(code));
  std::_Exit(static_cast<int>(code));
}

int run_action(CommandContext& context) {
  try {
    return static_cast<int>(context.action());
  } catch (const AgreedError& e) {
    if (announced_rank() == 0) print_error(e.what());
    return static_cast<int>(e.code());
  } catch (const Error& e) {
    print_error(e.what());
    if (context.mpi.launched()) end_job(context, e.code());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    print_error(str("internal: ", e.what()));
    if (context.mpi.launched()) end_job(context, ExitCode::internal);
    return static_cast<int>(ExitCode::internal);
  }
}

int run(int argc, char** argv) {
  const MpiSession mpi;
  CommandContext context{mpi, std::vector<std::string>(argv, argv + argc)};
  CLI::App app("plumbline: train CLIP models and measure how robust they are", "plumbline");
  app.set_version_flag("--version", version_report());
  app.require_subcommand(1);
  for (const auto add :
       {add_train, add_plan, add_evaluate, add_merge, add_report, add_embed, add_tokenize,
        add_preprocess, add_data, add_checkpoint, add_import, add_export, add_bench, add_doctor}) {
    add(app, context);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    if (announced_rank() == 0) app.exit(e);
    return static_cast<int>(ExitCode::usage);
  }
  return run_action(context);
}

}  // namespace
}  // namespace plumbline

int main(int argc, char** argv) { return plumbline::run(argc, argv); }
