// One rank without neighbours: every collective is a copy or nothing.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "plumbline/communicator.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

void copy(void* to, const void* from, std::int64_t count, ElementType type) {
  if (to == from || count == 0) return;
  std::memmove(to, from, static_cast<std::size_t>(count * size_of(type)));
}

class SingleCommunicator final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] int local_rank() const override { return 0; }
  [[nodiscard]] std::string name() const override { return "single"; }

  void all_reduce(void*, std::int64_t count, ElementType type, Reduce op, StreamHandle) override {
    record(Collective::all_reduce, count, type, op);
  }
  void all_gather(const void* send, void* recv, std::int64_t count_each, ElementType type,
                  StreamHandle) override {
    record(Collective::all_gather, count_each, type);
    copy(recv, send, count_each, type);
  }
  void reduce_scatter(const void* send, void* recv, std::int64_t count_each, ElementType type,
                      Reduce op, StreamHandle) override {
    record(Collective::reduce_scatter, count_each, type, op);
    copy(recv, send, count_each, type);
  }
  void broadcast(void*, std::int64_t count, ElementType type, int root, StreamHandle) override {
    record(Collective::broadcast, count, type);
    require(root == 0, str("broadcast from rank ", root, " of 1"));
  }
  void barrier() override { record(Collective::barrier, 0, ElementType::u8); }
  [[noreturn]] void abort(int code) override {
    std::fflush(nullptr);
    std::_Exit(code);
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

}  // namespace plumbline
