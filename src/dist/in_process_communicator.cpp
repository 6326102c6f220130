// Ranks as threads. Each collective is a meeting: a rank posts its pointers and waits, and the last
// to arrive does the work for all and wakes them. Slower than sharing the work, but nothing about
// the result depends on timing.
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "dist/ordered_reduce.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

struct Posted {
  CollectiveCall call;
  const void* send = nullptr;
  void* recv = nullptr;
  int root = 0;
};

class Meeting {
 public:
  explicit Meeting(int world) : posted_(static_cast<std::size_t>(world)) {}

  [[nodiscard]] int world() const { return static_cast<int>(posted_.size()); }
  void meet(int rank, const Posted& mine);
  /// `rank` has returned from its body (`error` null) or thrown.
  void leave(int rank, std::exception_ptr error);
  void rethrow_first() const {
    if (first_error_) std::rethrow_exception(first_error_);
  }

 private:
  void fail(int rank, std::exception_ptr error);
  void require_same_call() const;
  void work();
  void all_reduce();
  void all_gather();
  void reduce_scatter();
  void broadcast();
  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(posted_[0].call.count * size_of(posted_[0].call.type));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Posted> posted_;
  std::vector<std::byte> scratch_;
  std::size_t arrived_ = 0;
  std::int64_t finished_ = 0;  ///< meetings
  int ended_rank_ = -1;
  int failed_rank_ = -1;
  std::exception_ptr first_error_;
};

void Meeting::fail(int rank, std::exception_ptr error) {
  if (!first_error_) {
    first_error_ = std::move(error);
    failed_rank_ = rank;
  }
  changed_.notify_all();
}

void Meeting::leave(int rank, std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  ended_rank_ = rank;
  if (error) {
    fail(rank, std::move(error));
  } else if (arrived_ > 0) {
    fail(rank, std::make_exception_ptr(InternalError(str(
                   "in-process rank ", rank, " ended while others wait for it in a collective"))));
  }
}

void Meeting::meet(int rank, const Posted& mine) {
  std::unique_lock lock(mutex_);
  if (!first_error_ && ended_rank_ >= 0) {
    fail(rank, std::make_exception_ptr(
                   InternalError(str("in-process rank ", rank, " calls ", describe(mine.call),
                                     ", but rank ", ended_rank_, " has ended"))));
  }
  const std::int64_t now = finished_;
  if (!first_error_) {
    posted_[static_cast<std::size_t>(rank)] = mine;
    if (++arrived_ == posted_.size()) {
      require_same_call();
      work();
      arrived_ = 0;
      ++finished_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return finished_ != now || first_error_; });
  }
  if (finished_ == now) {
    throw Error(str("in-process rank ", rank, " of ", world(), " released from ",
                    describe(mine.call), ": rank ", failed_rank_, " failed"));
  }
}

void Meeting::require_same_call() const {
  const Posted& first = posted_[0];
  for (std::size_t r = 1; r < posted_.size(); ++r) {
    const CollectiveCall &a = first.call, &b = posted_[r].call;
    if (a.what != b.what || a.type != b.type || a.op != b.op || a.count != b.count ||
        first.root != posted_[r].root) {
      throw InternalError(str("in-process ranks issued different collectives: rank 0 ", describe(a),
                              " root ", first.root, ", rank ", r, " ", describe(b), " root ",
                              posted_[r].root));
    }
  }
}

void Meeting::work() {
  if (bytes() == 0) return;
  switch (posted_[0].call.what) {
    case Collective::all_reduce:
      return all_reduce();
    case Collective::all_gather:
      return all_gather();
    case Collective::reduce_scatter:
      return reduce_scatter();
    case Collective::broadcast:
      return broadcast();
    case Collective::barrier:
      return;
  }
}

void Meeting::all_reduce() {
  std::vector<const void*> parts;
  for (const Posted& p : posted_) parts.push_back(p.recv);
  const CollectiveCall& call = posted_[0].call;
  ordered_reduce(posted_[0].recv, parts, call.count, call.type, call.op);
  for (std::size_t r = 1; r < posted_.size(); ++r) {
    std::memcpy(posted_[r].recv, posted_[0].recv, bytes());
  }
}

// Through a scratch copy because any rank's send may be a slot of its own recv.
void Meeting::all_gather() {
  scratch_.resize(bytes() * posted_.size());
  for (std::size_t r = 0; r < posted_.size(); ++r) {
    std::memcpy(scratch_.data() + r * bytes(), posted_[r].send, bytes());
  }
  for (const Posted& p : posted_) std::memcpy(p.recv, scratch_.data(), scratch_.size());
}

void Meeting::reduce_scatter() {
  scratch_.resize(bytes() * posted_.size());
  const CollectiveCall& call = posted_[0].call;
  for (std::size_t r = 0; r < posted_.size(); ++r) {
    std::vector<const void*> parts;
    for (const Posted& p : posted_) {
      parts.push_back(static_cast<const std::byte*>(p.send) + r * bytes());
    }
    ordered_reduce(scratch_.data() + r * bytes(), parts, call.count, call.type, call.op);
  }
  for (std::size_t r = 0; r < posted_.size(); ++r) {
    std::memcpy(posted_[r].recv, scratch_.data() + r * bytes(), bytes());
  }
}

void Meeting::broadcast() {
  const void* from = posted_[static_cast<std::size_t>(posted_[0].root)].recv;
  for (const Posted& p : posted_) {
    if (p.recv != from) std::memcpy(p.recv, from, bytes());
  }
}

class InProcessCommunicator final : public Communicator {
 public:
  InProcessCommunicator(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return meeting_.world(); }
  [[nodiscard]] int local_rank() const override { return rank_; }
  [[nodiscard]] std::string name() const override { return "in-process"; }

  void all_reduce(void* data, std::int64_t count, ElementType type, Reduce op,
                  StreamHandle) override {
    meeting_.meet(rank_, {record(Collective::all_reduce, count, type, op), nullptr, data});
  }
  void all_gather(const void* send, void* recv, std::int64_t count_each, ElementType type,
                  StreamHandle) override {
    meeting_.meet(rank_, {record(Collective::all_gather, count_each, type), send, recv});
  }
  void reduce_scatter(const void* send, void* recv, std::int64_t count_each, ElementType type,
                      Reduce op, StreamHandle) override {
    meeting_.meet(rank_, {record(Collective::reduce_scatter, count_each, type, op), send, recv});
  }
  void broadcast(void* data, std::int64_t count, ElementType type, int root,
                 StreamHandle) override {
    require(root >= 0 && root < size(), str("broadcast from rank ", root, " of ", size()));
    meeting_.meet(rank_, {record(Collective::broadcast, count, type), nullptr, data, root});
  }
  void barrier() override {
    meeting_.meet(rank_, {record(Collective::barrier, 0, ElementType::u8)});
  }
  [[noreturn]] void abort(int code) override {
    throw Error(str("in-process rank ", rank_, " ended the job with code ", code),
                static_cast<ExitCode>(code));
  }

 private:
  Meeting& meeting_;
  int rank_;
};

}  // namespace

void run_in_process(int world, const std::function<void(Communicator&)>& body) {
  require(world >= 1, str("run_in_process with ", world, " ranks"));
  Meeting meeting(world);
  const auto run_rank = [&](int rank) {
    std::exception_ptr error;
    try {
      InProcessCommunicator communicator(meeting, rank);
      body(communicator);
    } catch (...) {
      error = std::current_exception();
    }
    meeting.leave(rank, std::move(error));
  };
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < world; ++rank) threads.emplace_back(run_rank, rank);
  }
  meeting.rethrow_first();
}

}  // namespace plumbline
