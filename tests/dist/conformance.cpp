#include "dist/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "plumbline/error.h"

namespace plumbline {

void* Memory::upload(const std::vector<std::byte>& bytes) {
  void* buffer = std::malloc(std::max<std::size_t>(bytes.size(), 1));
  if (!bytes.empty()) std::memcpy(buffer, bytes.data(), bytes.size());
  return buffer;
}

std::vector<std::byte> Memory::take(void* buffer, std::size_t size) {
  const auto* first = static_cast<const std::byte*>(buffer);
  std::vector<std::byte> bytes(first, first + size);
  std::free(buffer);
  return bytes;
}

namespace {

using Values = std::vector<int>;

constexpr ElementType kTypes[] = {ElementType::f32, ElementType::f64, ElementType::bf16,
                                  ElementType::i32, ElementType::i64, ElementType::u8};
constexpr Reduce kReductions[] = {Reduce::sum, Reduce::max, Reduce::min};
constexpr std::int64_t kCounts[] = {0, 1, 7, 9001};  // the last leaves MPI's one-step path

template <typename T>
void put(std::vector<std::byte>& out, T value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

std::uint16_t bf16_bits(int value) {  // exact below 256
  const auto f = static_cast<float>(value);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &f, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

std::vector<std::byte> encode(const Values& values, ElementType type) {
  std::vector<std::byte> out;
  for (const int v : values) {
    switch (type) {
      case ElementType::f32:
        put(out, static_cast<float>(v));
        break;
      case ElementType::f64:
        put(out, static_cast<double>(v));
        break;
      case ElementType::bf16:
        put(out, bf16_bits(v));
        break;
      case ElementType::i32:
        put(out, static_cast<std::int32_t>(v));
        break;
      case ElementType::i64:
        put(out, static_cast<std::int64_t>(v));
        break;
      case ElementType::u8:
        put(out, static_cast<std::uint8_t>(v));
        break;
    }
  }
  return out;
}

/// What rank `rank` holds: 0 to 12, so that 8 ranks sum to at most 96, exact in every type.
Values values_of(int rank, std::int64_t count) {
  Values values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<int>((i * 7 + rank * 5 + i / 13) % 13));
  }
  return values;
}

Values reduced(int world, std::int64_t count, Reduce op) {
  Values result = values_of(0, count);
  for (int r = 1; r < world; ++r) {
    const Values next = values_of(r, count);
    for (std::size_t i = 0; i < result.size(); ++i) {
      const int a = result[i], b = next[i];
      result[i] = op == Reduce::sum ? a + b : op == Reduce::max ? std::max(a, b) : std::min(a, b);
    }
  }
  return result;
}

Values gathered(int world, std::int64_t count) {
  Values all;
  for (int r = 0; r < world; ++r) {
    const Values part = values_of(r, count);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

struct Case {
  Communicator& comm;
  Memory& memory;
  ElementType type;
  std::int64_t count;

  [[nodiscard]] std::size_t bytes(std::int64_t n) const {
    return static_cast<std::size_t>(n * size_of(type));
  }
  [[nodiscard]] void* upload(const Values& values) const {
    return memory.upload(encode(values, type));
  }
  void expect(void* buffer, const Values& values, const char* what) const {
    const bool equal = memory.take(buffer, bytes(std::ssize(values))) == encode(values, type);
    EXPECT_TRUE(equal) << what << " of " << count << " " << name_of(type) << " on rank "
                       << comm.rank() << " of " << comm.size() << ", " << comm.name();
  }
};

void all_reduce(const Case& c, Reduce op) {
  void* data = c.upload(values_of(c.comm.rank(), c.count));
  c.comm.all_reduce(data, c.count, c.type, op, c.memory.stream());
  c.expect(data, reduced(c.comm.size(), c.count, op), "all_reduce");
}

void reduce_scatter(const Case& c, Reduce op, bool in_place) {
  const int world = c.comm.size();
  void* send = c.upload(values_of(c.comm.rank(), c.count * world));
  const auto mine = static_cast<std::ptrdiff_t>(c.bytes(c.count)) * c.comm.rank();
  void* recv = in_place ? static_cast<std::byte*>(send) + mine
                        : c.upload(Values(static_cast<std::size_t>(c.count), 99));
  c.comm.reduce_scatter(send, recv, c.count, c.type, op, c.memory.stream());
  const Values all = reduced(world, c.count * world, op);
  const auto first = all.begin() + c.comm.rank() * c.count;
  const Values slice(first, first + c.count);
  if (!in_place) {
    c.expect(recv, slice, "reduce_scatter");
    c.expect(send, values_of(c.comm.rank(), c.count * world), "send of reduce_scatter");
    return;
  }
  const std::vector<std::byte> after = c.memory.take(send, c.bytes(c.count * world));
  const std::vector<std::byte> want = encode(slice, c.type);
  EXPECT_TRUE(std::equal(want.begin(), want.end(), after.begin() + mine))
      << "reduce_scatter in place of " << c.count << " " << name_of(c.type);
}

void all_gather(const Case& c, bool in_place) {
  const int rank = c.comm.rank(), world = c.comm.size();
  Values before(static_cast<std::size_t>(c.count * world), 99);
  const Values mine = values_of(rank, c.count);
  if (in_place) std::copy(mine.begin(), mine.end(), before.begin() + rank * c.count);
  void* recv = c.upload(before);
  const auto slot = static_cast<std::ptrdiff_t>(c.bytes(c.count)) * rank;
  void* send = in_place ? static_cast<std::byte*>(recv) + slot : c.upload(mine);
  c.comm.all_gather(send, recv, c.count, c.type, c.memory.stream());
  c.expect(recv, gathered(world, c.count), in_place ? "all_gather in place" : "all_gather");
  if (!in_place) c.expect(send, mine, "send of all_gather");
}

void broadcast(const Case& c, int root) {
  void* data = c.upload(values_of(c.comm.rank(), c.count));
  c.comm.broadcast(data, c.count, c.type, root, c.memory.stream());
  c.expect(data, values_of(root, c.count), "broadcast");
}

}  // namespace

void expect_conformance(Communicator& communicator, Memory& memory) {
  for (const ElementType type : kTypes) {
    for (const std::int64_t count : kCounts) {
      const Case c{communicator, memory, type, count};
      for (const Reduce op : kReductions) {
        all_reduce(c, op);
        reduce_scatter(c, op, false);
      }
      reduce_scatter(c, Reduce::sum, true);
      all_gather(c, false);
      all_gather(c, true);
      broadcast(c, 0);
      broadcast(c, communicator.size() - 1);
    }
  }
  communicator.barrier();
  communicator.check();
}

void expect_bytes(Communicator& communicator) {
  const int rank = communicator.rank(), world = communicator.size();
  const auto text = [](int r) { return std::string(static_cast<std::size_t>(r * 3 % 7), 'a'); };
  const std::vector<std::string> all = communicator.all_gather_bytes(text(rank));
  ASSERT_EQ(std::ssize(all), world);
  for (int r = 0; r < world; ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], text(r));

  const std::string zero("x\0y", 3);
  EXPECT_EQ(communicator.broadcast_bytes(rank == world - 1 ? zero : "other", world - 1), zero);
  EXPECT_EQ(communicator.broadcast_bytes(rank == 0 ? "" : "other", 0), "");

  EXPECT_EQ(communicator.all_reduce(std::int64_t{rank}, Reduce::max), world - 1);
  EXPECT_EQ(communicator.all_reduce(1.5, Reduce::sum), 1.5 * world);
}

}  // namespace plumbline
