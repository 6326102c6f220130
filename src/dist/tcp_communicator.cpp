// Every collective is one or more rounds: each rank sends rank 0 what it calls and its part, rank 0
// checks that all call the same, makes the result in rank order, and answers. So ranks that fall
// out of order learn it at once, from both calls' names, and the results equal the other back
// ends'.
#include "dist/tcp_communicator.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "dist/ordered_reduce.h"
#include "dist/tcp_rendezvous.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

constexpr std::int64_t kRoundBytes = std::int64_t{32} << 20;
constexpr std::int64_t kLeastPieceBytes = std::int64_t{4} << 10;
struct Request {
  CollectiveCall call;
  std::int64_t start = 0;  ///< first element of the round
  std::int64_t bytes = 0;  ///< that follow
  std::int64_t abort_code = -1;
};

/// What a round does: `bytes` from every rank (or from `only` alone), the answer to each rank.
struct Round {
  CollectiveCall call;
  std::int64_t start = 0;
  const std::byte* mine = nullptr;
  std::int64_t bytes = 0;
  int only = -1;
  std::int64_t answer_bytes = 0;
};

class TcpCommunicator final : public Communicator {
 public:
  TcpCommunicator(const LaunchEnvironment& place, Meeting meeting)
      : rank_(place.rank), size_(place.world), meeting_(std::move(meeting)) {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] int local_rank() const override { return meeting_.local_rank; }
  [[nodiscard]] std::string name() const override { return "tcp"; }

  void all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                  StreamHandle) override;
  void all_gather(const void* send, void* recv, std::int64_t count_each, ElementType type,
                  StreamHandle) override;
  void reduce_scatter(const void* send, void* recv, std::int64_t count_each, ElementType type,
                      Reduce op, StreamHandle) override;
  void broadcast(void* data, std::int64_t count, ElementType type, int root, StreamHandle) override;
  void barrier() override {
    exchange({record(Collective::barrier, 0, ElementType::u8), 0, nullptr, 0, -1, 0},
             [](int) { return nullptr; });
  }
  [[noreturn]] void abort(int code) override;

 private:
  /// One round. On rank 0 `answer(r)` gives rank r's result, made from parts_; the own one is
  /// returned. On the others the result is in received_.
  template <typename Answer>
  const std::byte* exchange(const Round& round, const Answer& answer);
  void collect(const Round& round);
  void check_request(const Request& theirs, const Round& round, int from);
  const std::byte* ask(const Round& round);
  [[noreturn]] void lost(int other, const std::string& doing, const std::string& why) const;
  [[nodiscard]] std::int64_t piece(ElementType type, std::int64_t parts) const {
    return std::max(kLeastPieceBytes, kRoundBytes / parts) / size_of(type);
  }

  int rank_, size_;
  Meeting meeting_;
  std::vector<std::byte> parts_;  ///< rank 0: one part a rank
  std::vector<std::byte> received_;
};

// As when MPI loses a process: the launcher may start the job again.
void TcpCommunicator::lost(int other, const std::string& doing, const std::string& why) const {
  const auto r = static_cast<std::size_t>(other);
  const std::string host = r < meeting_.hosts.size() ? str(" on ", meeting_.hosts[r]) : "";
  throw Error(str("rank ", rank_, " of ", size_, ": ", doing, " failed: rank ", other, host,
                  " is lost: ", why, "; what it says itself tells why"));
}

void TcpCommunicator::check_request(const Request& theirs, const Round& round, int from) {
  if (theirs.abort_code >= 0) abort(static_cast<int>(theirs.abort_code));
  const CollectiveCall &a = round.call, &b = theirs.call;
  const bool same = a.what == b.what && a.type == b.type && a.op == b.op && a.count == b.count &&
                    a.sequence == b.sequence && theirs.start == round.start;
  const std::int64_t expected = round.only < 0 || round.only == from ? round.bytes : 0;
  if (same && theirs.bytes == expected) return;
  std::string sentence = str("the ranks issued different collectives on tcp: rank 0 issued ",
                             describe(a), ", rank ", from, " issued ", describe(b));
  if (same) sentence += ", of different roots";
  throw InternalError(sentence);
}

// Rank 0: everyone's part into parts_, in rank order.
void TcpCommunicator::collect(const Round& round) {
  parts_.resize(std::max(parts_.size(), static_cast<std::size_t>(round.bytes * size_)));
  for (int r = 0; r < size_; ++r) {
    std::byte* part = parts_.data() + r * round.bytes;
    if (r == 0) {
      if (round.only <= 0) std::copy_n(round.mine, round.bytes, part);
      continue;
    }
    const Socket& other = meeting_.others[static_cast<std::size_t>(r)];
    Request request;
    try {
      other.receive(bytes_of(request));
    } catch (const Error& e) {
      lost(r, describe(round.call), e.what());
    }
    check_request(request, round, r);
    try {
      other.receive({part, static_cast<std::size_t>(request.bytes)});
    } catch (const Error& e) {
      lost(r, describe(round.call), e.what());
    }
  }
}

const std::byte* TcpCommunicator::ask(const Round& round) {
  const bool sends = round.only < 0 || round.only == rank_;
  const std::int64_t bytes = sends ? round.bytes : 0;
  Reply reply;
  try {
    meeting_.others[0].send(bytes_of(Request{round.call, round.start, bytes, -1}));
    meeting_.others[0].send(std::span(round.mine, static_cast<std::size_t>(bytes)));
  } catch (const Error&) {  // rank 0 may have said why before it went: read that
  }
  try {
    meeting_.others[0].receive(bytes_of(reply));
    received_.resize(std::max(received_.size(), static_cast<std::size_t>(reply.bytes)));
    meeting_.others[0].receive({received_.data(), static_cast<std::size_t>(reply.bytes)});
  } catch (const Error& e) {
    lost(0, describe(round.call), e.what());
  }
  if (reply.aborts != 0) std::_Exit(reply.code);
  if (reply.code != 0) {
    const std::string sentence(reinterpret_cast<const char*>(received_.data()),
                               static_cast<std::size_t>(reply.bytes));
    if (reply.code == static_cast<int>(ExitCode::internal)) throw InternalError(sentence);
    throw Error(sentence, static_cast<ExitCode>(reply.code));
  }
  require(reply.bytes == round.answer_bytes, "rank 0 answers with as many bytes as are asked for");
  return received_.data();
}

template <typename Answer>
const std::byte* TcpCommunicator::exchange(const Round& round, const Answer& answer) {
  if (round.only >= size_ || round.only < -1) {
    throw InternalError(str(describe(round.call), " from rank ", round.only, " of ", size_));
  }
  if (rank_ != 0) return ask(round);
  try {
    collect(round);
  } catch (const Error& e) {
    tell_all(meeting_.others, e.what(), e.code());
    throw;
  }
  for (int r = 1; r < size_; ++r) {
    try {
      const Socket& other = meeting_.others[static_cast<std::size_t>(r)];
      other.send(bytes_of(Reply{0, 0, round.answer_bytes}));
      const std::byte* result = answer(r);
      other.send(std::span(result, static_cast<std::size_t>(round.answer_bytes)));
    } catch (const Error&) {  // found by the next collective, on every rank
    }
  }
  return answer(0);
}

std::vector<const void*> parts_at(const std::byte* parts, int world, std::int64_t stride,
                                  std::int64_t offset = 0) {
  std::vector<const void*> places;
  for (int r = 0; r < world; ++r) places.push_back(parts + r * stride + offset);
  return places;
}

void TcpCommunicator::all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                                 StreamHandle) {
  const CollectiveCall call = record(Collective::all_reduce, count, type, op);
  const std::int64_t each = size_of(type), at_once = piece(type, size_);
  for (std::int64_t start = 0; start < count; start += at_once) {
    const std::int64_t n = std::min(at_once, count - start);
    std::byte* mine = static_cast<std::byte*>(data) + start * each;
    bool reduced = false;
    const std::byte* sum = exchange({call, start, mine, n * each, -1, n * each}, [&](int) {
      if (!std::exchange(reduced, true)) {
        ordered_reduce(mine, parts_at(parts_.data(), size_, n * each), n, type, op);
      }
      return mine;
    });
    if (sum != mine) std::copy_n(sum, n * each, mine);
  }
}

void TcpCommunicator::all_gather(const void* send, void* recv, std::int64_t count_each,
                                 ElementType type, StreamHandle) {
  const CollectiveCall call = record(Collective::all_gather, count_each, type);
  const std::int64_t each = size_of(type), at_once = piece(type, size_);
  auto* to = static_cast<std::byte*>(recv);
  for (std::int64_t start = 0; start < count_each; start += at_once) {
    const std::int64_t bytes = std::min(at_once, count_each - start) * each;
    const auto* mine = static_cast<const std::byte*>(send) + start * each;
    const std::byte* all =
        exchange({call, start, mine, bytes, -1, bytes * size_}, [&](int) { return parts_.data(); });
    for (int r = 0; r < size_; ++r) {
      std::copy_n(all + r * bytes, bytes, to + (r * count_each + start) * each);
    }
  }
}

void TcpCommunicator::reduce_scatter(const void* send, void* recv, std::int64_t count_each,
                                     ElementType type, Reduce op, StreamHandle) {
  const CollectiveCall call = record(Collective::reduce_scatter, count_each, type, op);
  const std::int64_t each = size_of(type);
  const std::int64_t at_once = piece(type, static_cast<std::int64_t>(size_) * size_);
  const auto* from = static_cast<const std::byte*>(send);
  std::vector<std::byte> slices,
      result(static_cast<std::size_t>(std::min(at_once, count_each) * each));
  // recv may be this rank's slot of send: a later round's send never reads an earlier one's recv.
  for (std::int64_t start = 0; start < count_each; start += at_once) {
    const std::int64_t n = std::min(at_once, count_each - start), bytes = n * each;
    slices.resize(static_cast<std::size_t>(bytes * size_));
    for (int r = 0; r < size_; ++r) {
      std::copy_n(from + (r * count_each + start) * each, bytes, slices.data() + r * bytes);
    }
    const std::byte* sum =
        exchange({call, start, slices.data(), bytes * size_, -1, bytes}, [&](int r) {
          ordered_reduce(result.data(), parts_at(parts_.data(), size_, bytes * size_, r * bytes), n,
                         type, op);
          return result.data();
        });
    std::copy_n(sum, bytes, static_cast<std::byte*>(recv) + start * each);
  }
}

void TcpCommunicator::broadcast(void* data, std::int64_t count, ElementType type, int root,
                                StreamHandle) {
  const CollectiveCall call = record(Collective::broadcast, count, type);
  const std::int64_t each = size_of(type), at_once = piece(type, size_);
  for (std::int64_t start = 0; start < count; start += at_once) {
    const std::int64_t bytes = std::min(at_once, count - start) * each;
    std::byte* mine = static_cast<std::byte*>(data) + start * each;
    const std::byte* sent = exchange({call, start, mine, bytes, root, bytes},
                                     [&](int) { return parts_.data() + root * bytes; });
    if (rank_ != root) std::copy_n(sent, bytes, mine);
  }
}

void TcpCommunicator::abort(int code) {
  std::fflush(nullptr);
  for (const Socket& other : meeting_.others) {
    if (!other.open()) continue;
    try {
      if (rank_ == 0) {
        other.send(bytes_of(Reply{code, 1, 0}));
      } else {
        other.send(bytes_of(Request{{}, 0, 0, code}));
      }
    } catch (const Error&) {  // gone already
    }
  }
  std::_Exit(code);
}

}  // namespace

std::unique_ptr<Communicator> make_tcp_communicator(const LaunchEnvironment& place,
                                                    std::chrono::milliseconds patience) {
  return std::make_unique<TcpCommunicator>(place, meet(place, patience));
}

}  // namespace plumbline
