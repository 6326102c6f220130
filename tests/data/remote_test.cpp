// Shards behind `pipe:` commands: a local HTTP server that cuts, stalls, fails and changes its
// objects, read by curl.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "core/file.h"
#include "data/check.h"
#include "data/pipe_command.h"
#include "data/remote_shard.h"
#include "data/shard_cache.h"
#include "data/shard_list.h"
#include "plumbline/error.h"
#include "tests/data/loader_runs.h"

namespace plumbline {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string output_of(const std::string& command) {
  PipeCommand pipe(command);
  std::string text;
  std::vector<std::uint8_t> buffer(4096);
  std::size_t n = 0;
  while (pipe.read(buffer, 10, {}, n) == PipeCommand::Event::bytes) {
    text.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  return text;
}

TEST(PipeCommand, ReadsOutputStatusAndComplaints) {
  EXPECT_EQ(output_of("printf abc"), "abc");
  EXPECT_EQ(output_of("cat"), "") << "standard input is empty";
  PipeCommand pipe("echo oops >&2; exit 3");
  std::vector<std::uint8_t> buffer(16);
  std::size_t n = 0;
  EXPECT_EQ(pipe.read(buffer, 10, {}, n), PipeCommand::Event::end);
  EXPECT_EQ(pipe.finish(10), "exit status 3");
  EXPECT_EQ(pipe.complaints(), "oops\n");
}

TEST(PipeCommand, LeavesNoChildBehind) {
  const TempFolder folder;
  const auto start = Clock::now();
  {
    // The grandchild would write its file if it lived on.
    PipeCommand pipe("(sleep 1; touch " + folder / "alive" + ") & sleep 100");
    std::vector<std::uint8_t> buffer(16);
    std::size_t n = 0;
    EXPECT_EQ(pipe.read(buffer, 0.2, {}, n), PipeCommand::Event::silent);
  }
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  EXPECT_FALSE(fs::exists(folder / "alive"));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child of ours is left";
}

TEST(ListShards, ExpandsPipesWhereAllowed) {
  const auto list = list_shards({"pipe:curl -r {offset}-{end} http://h/{00..02}.tar"}, "error", "s",
                                /*allow_pipe=*/true);
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[2], "pipe:curl -r {offset}-{end} http://h/02.tar");
  const RemoteShard shard{list[2], {}};
  EXPECT_TRUE(shard.seekable());
  EXPECT_EQ(shard.command(7, 9), "curl -r 7-9 http://h/02.tar");
  EXPECT_EQ(shard.command(7, std::nullopt), "curl -r 7- http://h/02.tar");
  try {
    (void)list_shards({"s3://bucket/a.tar"}, "error", "s", true);
    FAIL() << "a bare URL";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("pipe:aws s3 cp s3://bucket/a.tar -"),
              std::string::npos);
  }
}

/// The server, while the object lives.
class Server {
 public:
  explicit Server(const std::string& folder) {
    const std::string script = PLUMBLINE_SOURCE_DIR "/tests/data/range_server.py";
    int to_child[2], from_child[2];
    if (::pipe(to_child) != 0 || ::pipe(from_child) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(to_child[0], 0);
      ::dup2(from_child[1], 1);
      for (const int fd : {to_child[0], to_child[1], from_child[0], from_child[1]}) ::close(fd);
      ::execlp("python3", "python3", script.c_str(), folder.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(to_child[0]);
    ::close(from_child[1]);
    input_ = to_child[1];
    (void)::fcntl(input_, F_SETFD, FD_CLOEXEC);
    char text[16] = {};
    if (::read(from_child[0], text, sizeof text - 1) > 0) port_ = std::atoi(text);
    ::close(from_child[0]);
  }
  ~Server() {
    ::close(input_);
    ::waitpid(pid_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] bool up() const {
    return port_ > 0 && std::system("curl --version > /dev/null 2>&1") == 0;
  }
  [[nodiscard]] std::string url(const std::string& path) const {
    return str("http://127.0.0.1:", port_, "/", path);
  }
  [[nodiscard]] int requests() const { return std::stoi(output_of("curl -sS " + url("count"))); }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int port_ = 0;
};

class Remote : public ::testing::Test {
 protected:
  void SetUp() override {
    write_shards(folder_);
    if (!server_.up()) GTEST_SKIP() << "python3 or curl is not there";
    expected_ = rows_of(shard_options(folder_), 8, 1);
  }

  /// The three shards by way of `kind`, with retries that do not wait.
  DataOptions options(const std::string& kind, bool ranges) {
    DataOptions options = shard_options(folder_);
    const std::string range = ranges ? "-r {offset}-{end} " : "";
    options.sources[0].shards = {"pipe:curl -sS --fail " + range +
                                 server_.url(kind + "/{0..2}.tar")};
    options.allow_pipe = true;
    options.pipe = {0.5, 5, 0.01};
    fs::create_directories(folder_ / ("index-" + kind + std::to_string(ranges)));
    options.index_dir = folder_ / ("index-" + kind + std::to_string(ranges));
    return options;
  }

  TempFolder folder_;
  Server server_{folder_.path()};
  std::vector<std::string> expected_;
};

TEST_F(Remote, GivesTheSameBatchesWhateverTheServerDoes) {
  for (const bool ranges : {true, false}) {
    for (const char* kind : {"ok", "cut", "stall", "late", "page"}) {
      EXPECT_EQ(rows_of(options(kind, ranges), 8, 1), expected_) << kind << " " << ranges;
    }
  }
}

TEST_F(Remote, CountsRetries) {
  const DataOptions o = options("late", true);
  Loader loader(o, context_of());
  loader.release(loader.next());
  EXPECT_EQ(loader.stats().sources[0].retries, 6) << "each shard failed twice";
}

void expect_data_error(const DataOptions& options, const std::string& word) {
  try {
    (void)rows_of(options, 8, 1);
    FAIL() << "no error: " << word;
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST_F(Remote, AServerThatNeverAnswersIsAnErrorWithItsWords) {
  expect_data_error(options("dead", true), "500");
  expect_data_error(options("dead", false), "5 tries");
}

TEST_F(Remote, AnObjectThatChangesWhileItIsReadIsAnError) {
  for (int s = 0; s < 3; ++s) {
    folder_.write(str(s, ".tar.new"), tar_of(samples_of("k", 40, 40 * s + 500)));
  }
  expect_data_error(options("changed1", true), "changed");
  expect_data_error(options("changed2", false), "changed");
}

TEST_F(Remote, AnObjectThatChangedSinceItsIndexIsAnError) {
  for (const bool ranges : {true, false}) {
    const DataOptions o = options("ok", ranges);
    (void)rows_of(o, 1, 1);
    std::string other = read_file(folder_ / "1.tar");
    for (std::size_t i = 600; i < 700; ++i) other[i] = static_cast<char>(~other[i]);  // an image
    const std::string old = read_file(folder_ / "1.tar");
    folder_.write("1.tar", other);
    expect_data_error(o, "the object changed");
    folder_.write("1.tar", old);
  }
}

TEST_F(Remote, ATruncatedObjectIsReadUpToItsEnd) {
  const std::string whole = read_file(folder_ / "0.tar");
  folder_.write("0.tar", whole.substr(0, whole.size() / 2 / 512 * 512));
  DataOptions o = options("ok", true);
  LoaderContext context = context_of();
  std::string warnings;
  context.warn = [&](const std::string& line) { warnings += line; };
  Loader loader(o, context);
  EXPECT_NE(warnings.find("truncated_tar"), std::string::npos) << warnings;
  loader.release(loader.next());
}

TEST_F(Remote, TheCacheAsksTheServerOnce) {
  DataOptions o = options("ok", true);
  o.cache = {folder_ / "cache", 1};
  EXPECT_EQ(rows_of(o, 8, 2), expected_);
  EXPECT_EQ(server_.requests(), 3);
  EXPECT_EQ(rows_of(o, 8, 1), expected_);
  EXPECT_EQ(server_.requests(), 3);
}

TEST_F(Remote, StopsAtOnceWhileACommandHangs) {
  DataOptions o = options("ok", false);
  o.pipe.timeout_s = 1000;
  o.sources[0].shards = {"pipe:test -e " + folder_ / "slow" + " && sleep 100; curl -sS --fail " +
                         server_.url("ok/{0..2}.tar")};
  (void)rows_of(o, 1, 1);  // makes the index
  folder_.write("slow", "");
  auto loader = std::make_unique<Loader>(o, context_of());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto start = Clock::now();
  loader.reset();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
}

TEST_F(Remote, AShardThatIsGivenUpIsReplacedAndCounted) {
  for (const bool ranges : {true, false}) {
    DataOptions o = options("ok", ranges);
    (void)rows_of(o, 1, 1);  // makes the index
    folder_.write("1.tar.gone", "");
    o.pipe.tries = 2;
    o.errors = {1, 1000};
    const std::vector<std::string> got = rows_of(o, 8, 1);
    o.threads = 7;
    EXPECT_EQ(rows_of(o, 8, 2), got) << "others, but a function of the position";
    int replaced = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool lost = std::stoi(expected_[i].substr(1)) / 40 == 1;
      replaced += lost ? 1 : 0;
      EXPECT_NE(std::stoi(got[i].substr(1)) / 40, 1) << got[i];
      EXPECT_TRUE(lost || got[i] == expected_[i]) << "rows of the other shards stay";
    }
    EXPECT_GT(replaced, 30);

    LoaderContext context = context_of();
    std::string warnings;
    context.warn = [&](const std::string& line) { warnings += line + "\n"; };
    context.quarantine_path = folder_ / "quarantine" + std::to_string(ranges);
    Loader loader(o, context);
    for (int k = 0; k < 8; ++k) loader.release(loader.next());
    const SourceCounts counts = loader.stats().sources[0];
    EXPECT_EQ(counts.substitutes, replaced);
    EXPECT_GE(counts.bad[static_cast<std::size_t>(BadSampleClass::io)], replaced);
    EXPECT_EQ(counts.delivered, 128);
    const std::string quarantine = read_file(context.quarantine_path);
    EXPECT_EQ(std::count(quarantine.begin(), quarantine.end(), '\n'), loader.stats().bad_samples());
    EXPECT_NE(quarantine.find("\"class\":\"io\""), std::string::npos);
    EXPECT_EQ(std::count(warnings.begin(), warnings.end(), '\n'), 1) << warnings;
    EXPECT_NE(warnings.find("given up after 2 tries"), std::string::npos) << warnings;
    EXPECT_NE(warnings.find("503"), std::string::npos) << warnings;
    fs::remove(folder_ / "1.tar.gone");
  }
}

TEST_F(Remote, AShardWithoutAnIndexIsMissing) {
  DataOptions o = options("ok", true);
  o.pipe.tries = 2;
  folder_.write("1.tar.gone", "");
  expect_data_error(o, "503");
  o.sources[0].missing = "skip";
  LoaderContext context = context_of();
  std::string warnings;
  context.warn = [&](const std::string& line) { warnings += line; };
  const Loader loader(o, context);
  EXPECT_EQ(loader.epoch_samples(), 80);
  EXPECT_NE(warnings.find("1 of 3 remote shards"), std::string::npos) << warnings;
}

TEST_F(Remote, TooManyShardsGivenUpEndTheRun) {
  DataOptions o = options("ok", true);
  (void)rows_of(o, 1, 1);
  o.pipe.tries = 2;
  folder_.write("1.tar.gone", "");
  try {
    (void)rows_of(o, 80, 1);
    FAIL() << "a third of the rows is lost";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("max_rate"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(" io"), std::string::npos) << error.what();
  }
  folder_.write("0.tar.gone", "");
  folder_.write("2.tar.gone", "");
  o.errors = {1, 1000};
  expect_data_error(o, "no shard can be read");
}

TEST_F(Remote, ToolsReadPipes) {
  CheckOptions check;
  check.source.name = "shards";
  check.source.shards = options("page", true).sources[0].shards;
  EXPECT_THROW((void)check_shards(check), UsageError) << "not allowed";
  check.allow_pipe = true;
  EXPECT_EQ(check_shards(check).usable, 120);
  EXPECT_THROW((void)index_shards(check), UsageError) << "no folder for the indexes";
}

TEST(ShardCache, DeletesOnlyItsOwnOldestFiles) {
  const TempFolder folder;
  folder.write("mine.shard", std::string(5000, 'x'));
  const ShardCache cache(folder.path(), 2500);
  int fetched = 0;
  const auto open = [&](const std::string& name) {
    const FileDescriptor file =
        cache.open(name,
                   [&](int fd) {
                     ++fetched;
                     ASSERT_EQ(::write(fd, std::string(1000, 'c').data(), 1000), 1000);
                   },
                   {});
    EXPECT_GE(file.get(), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // ages differ
  };
  open("a");
  open("b");
  open("a");
  open("c");  // b goes: a was opened after it
  EXPECT_EQ(fetched, 3);
  open("a");
  EXPECT_EQ(fetched, 3);
  open("b");
  EXPECT_EQ(fetched, 4);
  EXPECT_TRUE(fs::exists(folder / "mine.shard"));
  EXPECT_THROW((void)cache.open("d", [](int) { throw Error("no"); }, {}), Error);
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    EXPECT_FALSE(entry.path().string().ends_with(".part")) << "nothing half stays";
  }
}

}  // namespace
}  // namespace plumbline
