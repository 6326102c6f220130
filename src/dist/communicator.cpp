// What every back end shares: the record of the calls, byte strings over ranks, the order check.
#include "plumbline/communicator.h"

#include <algorithm>
#include <sstream>

#include "plumbline/error.h"

namespace plumbline {
namespace {

std::string_view name_of(Collective what) {
  switch (what) {
    case Collective::all_reduce:
      return "all_reduce";
    case Collective::all_gather:
      return "all_gather";
    case Collective::reduce_scatter:
      return "reduce_scatter";
    case Collective::broadcast:
      return "broadcast";
    case Collective::barrier:
      return "barrier";
  }
  return "?";
}

std::string_view name_of(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return "sum";
    case Reduce::max:
      return "max";
    case Reduce::min:
      return "min";
  }
  return "?";
}

constexpr std::uint64_t kFnvPrime = 0x100000001b3U;

std::uint64_t fnv1a(std::uint64_t hash, std::uint64_t value) {
  for (int byte = 0; byte < 8; ++byte) {
    hash = (hash ^ (value & 0xffU)) * kFnvPrime;
    value >>= 8;
  }
  return hash;
}

std::string hex(std::uint64_t value) {
  std::ostringstream out;
  out << "0x" << std::hex << value;
  return out.str();
}

// The first line in which two ranks' lists differ; the lists end at the same moment, so equal
// sequence numbers stand on equal lines unless a rank issued more calls.
std::string first_difference(const std::vector<std::string>& lists) {
  for (std::size_t other = 1; other < lists.size(); ++other) {
    std::istringstream a(lists[0]), b(lists[other]);
    std::string line_a, line_b;
    while (true) {
      const bool more_a = static_cast<bool>(std::getline(a, line_a));
      const bool more_b = static_cast<bool>(std::getline(b, line_b));
      if (!more_a && !more_b) break;
      if (!more_a) line_a = "nothing more";
      if (!more_b) line_b = "nothing more";
      if (line_a != line_b) {
        return str("rank 0 issued ", line_a, ", rank ", other, " issued ", line_b);
      }
    }
  }
  return "the difference lies before the recorded calls";
}

}  // namespace

std::string_view name_of(ElementType type) {
  switch (type) {
    case ElementType::f32:
      return "f32";
    case ElementType::f64:
      return "f64";
    case ElementType::bf16:
      return "bf16";
    case ElementType::i32:
      return "i32";
    case ElementType::i64:
      return "i64";
    case ElementType::u8:
      return "u8";
  }
  return "?";
}

std::string describe(const CollectiveCall& call) {
  const std::string where = str(" (collective ", call.sequence, ")");
  if (call.what == Collective::barrier) return "barrier" + where;
  const bool reduces =
      call.what == Collective::all_reduce || call.what == Collective::reduce_scatter;
  return str(name_of(call.what), reduces ? " " : "", reduces ? name_of(call.op) : "", " of ",
             call.count, " ", name_of(call.type), where);
}

CollectiveCall Communicator::record(Collective what, std::int64_t count, ElementType type,
                                    Reduce op) {
  const CollectiveCall call{what, type, op, count, calls_};
  if (count < 0) throw InternalError("negative count in " + describe(call));
  for (const std::uint64_t part :
       {static_cast<std::uint64_t>(call.sequence), static_cast<std::uint64_t>(what),
        static_cast<std::uint64_t>(op), static_cast<std::uint64_t>(type),
        static_cast<std::uint64_t>(count)}) {
    order_hash_ = fnv1a(order_hash_, part);
  }
  recent_[static_cast<std::size_t>(calls_) % kRecentCalls] = call;
  ++calls_;
  return call;
}

std::string Communicator::recent_calls() const {
  constexpr auto kKept = static_cast<std::int64_t>(kRecentCalls);
  std::string lines;
  for (std::int64_t i = std::max<std::int64_t>(0, calls_ - kKept); i < calls_; ++i) {
    lines += describe(recent_[static_cast<std::size_t>(i % kKept)]) + "\n";
  }
  return lines;
}

std::vector<std::string> Communicator::all_gather_bytes(const std::string& mine) {
  const auto world = static_cast<std::size_t>(size());
  const std::int64_t length = std::ssize(mine);
  std::vector<std::int64_t> lengths(world);
  all_gather(&length, lengths.data(), 1, ElementType::i64);

  const auto widest = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end()));
  std::string padded = mine;
  padded.resize(widest);
  std::string all(widest * world, '\0');
  all_gather(padded.data(), all.data(), static_cast<std::int64_t>(widest), ElementType::u8);

  std::vector<std::string> texts;
  for (std::size_t r = 0; r < world; ++r) {
    texts.push_back(all.substr(r * widest, static_cast<std::size_t>(lengths[r])));
  }
  return texts;
}

std::string Communicator::broadcast_bytes(std::string bytes, int root) {
  std::int64_t length = std::ssize(bytes);
  broadcast(&length, 1, ElementType::i64, root);
  bytes.resize(static_cast<std::size_t>(length));
  broadcast(bytes.data(), length, ElementType::u8, root);
  return bytes;
}

void check_same_order(Communicator& host, const Communicator& checked) {
  const std::uint64_t mine = checked.order_hash();
  const std::string calls = checked.recent_calls();
  // The minimum of ~h is the complement of the maximum of h, in two's complement too.
  const auto key = static_cast<std::int64_t>(mine);
  std::array<std::int64_t, 2> extremes{key, ~key};
  host.all_reduce(std::span<std::int64_t>(extremes), Reduce::min);
  const std::int64_t low = extremes[0], high = ~extremes[1];
  if (low == high) return;
  throw InternalError(str("the ranks issued different collectives on ", checked.name(),
                          ": order hashes from ", hex(static_cast<std::uint64_t>(low)), " to ",
                          hex(static_cast<std::uint64_t>(high)), ", rank ", checked.rank(), " has ",
                          hex(mine), "; ", first_difference(host.all_gather_bytes(calls))));
}

}  // namespace plumbline
