#include "data/remote_shard.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <span>
#include <vector>

#include "data/pipe_command.h"
#include "data/tar_reader.h"
#include "data/utf8.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::string_view kPrefix = "pipe:";
constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 30;
constexpr std::uint64_t kOverlap = 64 << 10;  // read again after a cut, to see a changed object
constexpr std::size_t kChunk = 1 << 18;
constexpr std::uint64_t kBlock = 512;
constexpr double kLongestWait = 60;
constexpr auto kRest = std::chrono::minutes(10);  // of a shard that was given up

void replace_all(std::string& text, std::string_view what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

void write_at(int fd, std::uint64_t at, std::span<const std::uint8_t> bytes,
              const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error(str("storing shard ", name, ": ", std::strerror(errno)));
    at += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

bool holds(int fd, std::uint64_t at, std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> there(bytes.size());
  const ssize_t n = ::pread(fd, there.data(), there.size(), static_cast<off_t>(at));
  return n == std::ssize(bytes) && std::equal(bytes.begin(), bytes.end(), there.begin());
}

/// One copy with all its tries.
class Fetch {
 public:
  Fetch(const RemoteShard& shard, std::uint64_t first, std::optional<std::uint64_t> length, int fd,
        std::uint64_t at, const std::stop_token& stop)
      : shard_(shard), first_(first), length_(length), fd_(fd), at_(at), stop_(stop) {}

  std::uint64_t run() {
    for (int failures = 0;;) {
      const std::uint64_t before = have_;
      const Outcome outcome = attempt();
      if (outcome == Outcome::done) return have_;
      if (stop_.stop_requested()) throw Error(str("shard ", shard_.name, ": reading was stopped"));
      differences_ = outcome == Outcome::differs ? differences_ + 1 : 0;
      // Once could be an error page instead of the object.
      if (differences_ >= 2) throw DataError(str("shard ", shard_.name, ": ", problem_));
      if (outcome == Outcome::unended && std::exchange(unended_at_, have_) == have_) return have_;
      failures = have_ > before ? 1 : failures + 1;
      if (failures >= shard_.options.tries) {
        const std::string why =
            str("shard ", shard_.name, ": given up after ", failures,
                " tries without progress at byte ", first_ + have_, ": ", problem_);
        shard_.counters->given_up.add(shard_.name, why);
        throw UnreadableShard(why);
      }
      ++shard_.counters->retries;
      wait(failures);
    }
  }

 private:
  enum class Outcome { done, failed, differs, unended };

  Outcome attempt() {
    const std::uint64_t start =
        shard_.seekable() ? first_ + have_ - std::min(have_, kOverlap) : first_;
    std::optional<std::uint64_t> last;
    if (length_) last = first_ + *length_ - 1;
    PipeCommand command(shard_.command(start, last));
    std::vector<std::uint8_t> buffer(kChunk);
    for (std::uint64_t position = start - first_;;) {
      std::size_t n = 0;
      switch (command.read(buffer, shard_.options.timeout_s, stop_, n)) {
        case PipeCommand::Event::stopped:
          return Outcome::failed;
        case PipeCommand::Event::silent:
          return failed(str("no byte for ", shard_.options.timeout_s, " s"), command);
        case PipeCommand::Event::end:
          return ended(position, command);
        case PipeCommand::Event::bytes:
          break;
      }
      shard_.counters->bytes += static_cast<std::int64_t>(n);
      if (!take({buffer.data(), n}, position)) return differs(position);
      if (length_ && have_ == *length_) return Outcome::done;  // the rest is not wanted
    }
  }

  /// Compares what is there already, stores the rest. False: it differs.
  bool take(std::span<const std::uint8_t> bytes, std::uint64_t& position) {
    if (length_) bytes = bytes.first(std::min<std::uint64_t>(bytes.size(), *length_ - position));
    if (position < have_) {
      const auto known = bytes.first(std::min<std::uint64_t>(bytes.size(), have_ - position));
      if (!holds(fd_, at_ + position, known)) return false;
      position += known.size();
      bytes = bytes.subspan(known.size());
    }
    if (position + bytes.size() > kMaxBytes) {
      throw DataError(str("shard ", shard_.name, " is larger than ", kMaxBytes, " bytes"));
    }
    write_at(fd_, at_ + position, bytes, shard_.name);
    position += bytes.size();
    have_ = std::max(have_, position);
    return true;
  }

  Outcome ended(std::uint64_t position, PipeCommand& command) {
    const std::string how = command.finish(shard_.options.timeout_s);
    if (!how.empty()) return failed(how, command);
    if (length_)
      return failed(str("it ended after ", position, " of ", *length_, " bytes"), command);
    if (position < have_) return differs(position);
    return whole(command);
  }

  /// A command that ended well: is this a shard, and all of it?
  Outcome whole(const PipeCommand& command) {
    std::vector<std::uint8_t> block(kBlock);
    const ssize_t n = ::pread(fd_, block.data(), block.size(), static_cast<off_t>(at_));
    block.resize(n > 0 ? std::min(static_cast<std::size_t>(n), have_) : 0);
    const bool compressed = is_compressed(block);
    if (!compressed && !looks_like_tar(block)) {
      const std::string_view text(reinterpret_cast<const char*>(block.data()),
                                  std::min<std::size_t>(block.size(), 40));
      have_ = 0;
      return failed(is_utf8(text) && !text.empty()
                        ? str("no tar, gzip or zstd file; it begins '", text, "'")
                        : std::string("no tar, gzip or zstd file"),
                    command);
    }
    if (compressed || ends_with_zeros()) return Outcome::done;
    (void)failed("a tar without end blocks", command);
    return Outcome::unended;
  }

  [[nodiscard]] bool ends_with_zeros() const {
    if (have_ < kBlock) return false;
    const std::vector<std::uint8_t> zeros(kBlock);
    return holds(fd_, at_ + have_ - kBlock, zeros);
  }

  Outcome failed(const std::string& why, const PipeCommand& command) {
    problem_ = why;
    std::string_view complaints = strip(command.complaints());
    if (!complaints.empty()) problem_ += str("; it said: ", complaints);
    return Outcome::failed;
  }

  Outcome differs(std::uint64_t position) {
    problem_ = str("the bytes at ", first_ + position,
                   " are not those received before: the object changed, or the command prints "
                   "errors into its output (curl needs --fail)");
    return Outcome::differs;
  }

  /// The n-th wait in a row: wait_s * 2^(n-1), at most 60 s, times 0.5 to 1 so that many readers
  /// do not come back at once. Results do not depend on it.
  void wait(int n) {
    thread_local std::minstd_rand random{std::random_device{}()};
    const double longest = std::min(kLongestWait, shard_.options.wait_s * std::exp2(n - 1));
    const std::chrono::duration<double> pause(
        longest * std::uniform_real_distribution<double>(0.5, 1.0)(random));
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    (void)never.wait_for(lock, stop_, pause, [] { return false; });
  }

  const RemoteShard& shard_;
  std::uint64_t first_;
  std::optional<std::uint64_t> length_;
  int fd_;
  std::uint64_t at_;
  const std::stop_token& stop_;
  std::uint64_t have_ = 0;
  std::uint64_t unended_at_ = ~std::uint64_t{0};
  int differences_ = 0;
  std::string problem_;
};

}  // namespace

void GivenUp::check(const std::string& shard) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(shard);
  if (found == entries_.end() || std::chrono::steady_clock::now() > found->second.until) return;
  throw UnreadableShard(found->second.why);
}

void GivenUp::add(const std::string& shard, const std::string& why) {
  const std::lock_guard lock(mutex_);
  entries_[shard] = {std::chrono::steady_clock::now() + kRest, why};
}

bool is_pipe(std::string_view shard) { return shard.starts_with(kPrefix); }

bool RemoteShard::seekable() const { return name.find("{offset}") != std::string::npos; }

std::string RemoteShard::command(std::uint64_t offset, std::optional<std::uint64_t> last) const {
  std::string text = name.substr(kPrefix.size());
  replace_all(text, "{offset}", std::to_string(offset));
  replace_all(text, "{end}", last ? std::to_string(*last) : std::string());
  return text;
}

std::uint64_t fetch(const RemoteShard& shard, std::uint64_t first,
                    std::optional<std::uint64_t> length, int fd, std::uint64_t at,
                    const std::stop_token& stop) {
  require(first == 0 || shard.seekable(), "a range of a shard without {offset}");
  if (length && *length == 0) return 0;
  shard.counters->given_up.check(shard.name);
  return Fetch(shard, first, length, fd, at, stop).run();
}

}  // namespace plumbline
