// The words exchanged: a Hello of fixed size, then a Reply with the local rank or a refusal.
#include "dist/tcp_rendezvous.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

namespace plumbline {
namespace {

constexpr std::array<char, 8> kMagic{'p', 'l', 'u', 'm', 'b', '0', '0', '1'};
constexpr auto kHelloPatience = std::chrono::seconds(5);  // for a stranger who connects and is mute

struct Hello {
  std::array<char, 8> magic = kMagic;
  std::uint64_t job = 0;
  std::int32_t rank = 0, world = 0, local_rank = -1, reserved = 0;
  std::array<char, 160> machine{};
};

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

/// Two containers may share a host name, but not a boot of the kernel.
std::array<char, 160> this_machine() {
  std::array<char, 160> machine{};
  char name[100] = "";
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  std::snprintf(machine.data(), machine.size(), "%s %s", name, boot.c_str());
  return machine;
}

std::string host_of(const std::array<char, 160>& machine) {
  const std::string text(machine.data(), strnlen(machine.data(), machine.size()));
  return text.substr(0, text.find(' '));
}

Hello hello_of(const LaunchEnvironment& place) {
  Hello hello;
  hello.job = fnv1a(place.job);
  hello.rank = place.rank;
  hello.world = place.world;
  hello.local_rank = place.local_rank;
  hello.machine = this_machine();
  return hello;
}

void welcome(Socket socket, const LaunchEnvironment& place, std::vector<Socket>& others,
             std::vector<Hello>& hellos) {
  Hello hello;
  const auto soon = std::chrono::steady_clock::now() + kHelloPatience;
  if (!socket.receive_until(bytes_of(hello), soon) || hello.magic != kMagic) return;
  if (hello.job != fnv1a(place.job)) return;  // it tries again until its own rank 0 listens
  const auto r = static_cast<std::size_t>(hello.rank);
  std::string wrong;
  if (hello.world != place.world) {
    wrong = str("rank ", hello.rank, " on ", host_of(hello.machine), " was told of ", hello.world,
                " ranks, rank 0 of ", place.world);
  } else if (hello.rank < 1 || hello.rank >= place.world || others[r].open()) {
    wrong = str("a second rank ", hello.rank, " has come from ", host_of(hello.machine));
  }
  if (wrong.empty()) {
    hellos[r] = hello;
    others[r] = std::move(socket);
    return;
  }
  others.push_back(std::move(socket));  // the one that is wrong learns it too
  tell_all(others, wrong, ExitCode::usage);
  throw UsageError(wrong);
}

Meeting gather_ranks(const LaunchEnvironment& place, Socket::Deadline deadline) {
  const auto world = static_cast<std::size_t>(place.world);
  Meeting meeting;
  meeting.others.resize(world);
  std::vector<Hello> hellos(world);
  hellos[0] = hello_of(place);
  Socket door;
  try {
    door = Socket::listen(place.port);
  } catch (const Error& e) {
    throw Error(str("rank 0 cannot listen at port ", place.port, ": ", e.what(),
                    "; MASTER_PORT gives another"));
  }
  const auto absent = [&] {
    std::string ranks;
    for (std::size_t r = 1; r < world; ++r) {
      if (!meeting.others[r].open()) ranks += str(ranks.empty() ? "" : ", ", r);
    }
    return ranks;
  };
  while (!absent().empty()) {
    std::optional<Socket> next = door.accept(deadline);
    if (!next) {
      const std::string sentence =
          str("waiting at port ", place.port, ", rank 0 has not heard of rank ", absent(), " of ",
              place.world);
      tell_all(meeting.others, sentence, ExitCode::failed);
      throw Error(sentence);
    }
    welcome(std::move(*next), place, meeting.others, hellos);
  }
  std::map<std::string, int> on_host;
  for (std::size_t r = 0; r < world; ++r) {
    meeting.hosts.push_back(host_of(hellos[r].machine));
    const std::string machine(hellos[r].machine.data(), hellos[r].machine.size());
    std::int32_t local = on_host[machine]++;
    if (hellos[r].local_rank >= 0) local = hellos[r].local_rank;
    if (r == 0) {
      meeting.local_rank = local;
      continue;
    }
    meeting.others[r].send(bytes_of(Reply{0, 0, sizeof local}));
    meeting.others[r].send(bytes_of(local));
  }
  return meeting;
}

Meeting join(const LaunchEnvironment& place, Socket::Deadline deadline) {
  const std::string where =
      str("rank ", place.rank, " of ", place.world, ": rank 0 at ", place.address, ":", place.port);
  Meeting meeting;
  while (true) {
    try {
      meeting.others.clear();
      meeting.others.push_back(Socket::connect(place.address, place.port, deadline));
      meeting.others[0].send(bytes_of(hello_of(place)));
    } catch (const Error& e) {
      throw Error(str(where, " cannot be reached: ", e.what(),
                      "; is MASTER_ADDR its address, and the port open between the hosts?"));
    }
    Reply reply;
    // Turned away (another job's door) or too early: again.
    if (!meeting.others[0].receive_until(bytes_of(reply), deadline)) {
      if (std::chrono::steady_clock::now() >= deadline) throw Error(where + " did not answer");
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      continue;
    }
    std::string text(static_cast<std::size_t>(reply.bytes), '\0');
    meeting.others[0].receive(std::as_writable_bytes(std::span<char>(text)));
    if (reply.code != 0) throw Error(text, static_cast<ExitCode>(reply.code));
    std::int32_t local = 0;
    require(text.size() == sizeof local, "a welcome holds the local rank");
    std::memcpy(&local, text.data(), sizeof local);
    meeting.local_rank = local;
    return meeting;
  }
}

}  // namespace

void tell_all(std::span<const Socket> others, const std::string& sentence, ExitCode code) noexcept {
  for (const Socket& other : others) {
    if (!other.open()) continue;
    try {
      other.send(bytes_of(Reply{static_cast<std::int32_t>(code), 0, std::ssize(sentence)}));
      other.send(std::as_bytes(std::span<const char>(sentence)));
    } catch (const Error&) {  // gone already: nobody to tell
    }
  }
}

Meeting meet(const LaunchEnvironment& place, std::chrono::milliseconds patience) {
  const Socket::Deadline deadline = std::chrono::steady_clock::now() + patience;
  return place.rank == 0 ? gather_ranks(place, deadline) : join(place, deadline);
}

}  // namespace plumbline
