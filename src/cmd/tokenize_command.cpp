#include <fstream>
#include <iostream>

#include "cmd/command.h"
#include "plumbline/tokenizer.h"

namespace plumbline {
namespace {

struct Arguments {
  std::string tokenizer = "clip";
  int context_length = 0;
  std::string file;
};

void tokenize_lines(const Tokenizer& tokenizer, std::istream& in, const std::string& name) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokenizer.context_length()));
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    try {
      (void)tokenizer.encode(line, ids);
    } catch (const std::invalid_argument& e) {
      throw DataError(str(name, ":", number, ": ", e.what()));
    }
    std::string out;
    for (const std::int32_t id : ids) {
      if (!out.empty()) out += ' ';
      out += std::to_string(id);
    }
    std::cout << out << '\n';
  }
}

ExitCode run_tokenize(const Arguments& arguments) {
  TokenizerOptions options = parse_tokenizer_spec(arguments.tokenizer);
  if (arguments.context_length > 0) options.context_length = arguments.context_length;
  const auto tokenizer = make_tokenizer(options);
  if (arguments.file.empty()) {
    tokenize_lines(*tokenizer, std::cin, "standard input");
  } else {
    std::ifstream in(arguments.file);
    if (!in) throw UsageError(str("cannot open ", arguments.file));
    tokenize_lines(*tokenizer, in, arguments.file);
  }
  return ExitCode::done;
}

}  // namespace

void add_tokenize(CLI::App& app, CommandContext& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("tokenize", "One caption a line in, its ids a line out");
  command->add_option("--tokenizer", arguments->tokenizer, "kind[:path][,key=value]...")
      ->capture_default_str();
  command->add_option("--context", arguments->context_length, "Ids a caption, padded")
      ->check(CLI::PositiveNumber);
  command->add_option("FILE", arguments->file, "Captions; standard input without it");
  command->callback(
      [arguments, &context] { context.action = [arguments] { return run_tokenize(*arguments); }; });
}

}  // namespace plumbline
