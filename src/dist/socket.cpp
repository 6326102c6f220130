#include "dist/socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "plumbline/error.h"

namespace plumbline {
namespace {

using std::chrono::milliseconds;

int milliseconds_left(Socket::Deadline deadline) {
  const auto left =
      std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000'000));
}

void set(int descriptor, int level, int option, int value) {
  (void)::setsockopt(descriptor, level, option, &value, sizeof value);  // a hint: may be refused
}

// A host that vanishes without a word is noticed after about a minute, also by who only waits.
void tune(int descriptor) {
  set(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000);
}

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const std::string& host, int port, std::string& why) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int result = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (result != 0) why = ::gai_strerror(result);
  return {result == 0 ? found : nullptr, &::freeaddrinfo};
}

// One attempt; a closed Socket and `why` when it fails.
Socket try_connect(const addrinfo& address, Socket::Deadline deadline, std::string& why) {
  const int kind = address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const int descriptor = ::socket(address.ai_family, kind, address.ai_protocol);
  Socket socket(descriptor);
  int error = descriptor < 0 ? errno : 0;
  if (error == 0 && ::connect(descriptor, address.ai_addr, address.ai_addrlen) != 0) error = errno;
  if (error == EINPROGRESS) {
    pollfd waiting{descriptor, POLLOUT, 0};
    socklen_t size = sizeof error;
    if (::poll(&waiting, 1, std::min(milliseconds_left(deadline), 5000)) < 1) {
      error = ETIMEDOUT;
    } else {
      ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  if (error != 0) {
    why = std::strerror(error);
    return {};
  }
  tune(descriptor);
  return socket;
}

// The sockets never block in a call, so that deadlines hold; this waits. False: deadline.
bool wait_for(int descriptor, short what, const Socket::Deadline* deadline) {
  pollfd waiting{descriptor, what, 0};
  while (true) {
    const int ready = ::poll(&waiting, 1, deadline == nullptr ? -1 : milliseconds_left(*deadline));
    if (ready > 0) return true;
    if (ready == 0 && deadline != nullptr) return false;
    if (ready < 0 && errno != EINTR) throw Error(std::strerror(errno));
  }
}

// False: deadline.
bool receive_all(int descriptor, std::span<std::byte> bytes, const Socket::Deadline* deadline) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(descriptor, bytes.data(), bytes.size(), 0);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    } else if (got == 0) {
      throw Error("the connection was closed at the other side");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(descriptor, POLLIN, deadline)) return false;
    } else if (errno != EINTR) {
      throw Error(std::strerror(errno));
    }
  }
  return true;
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Socket::~Socket() { close(); }

void Socket::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

Socket Socket::listen(int port) {
  int family = AF_INET6;
  int descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) {  // a host without IPv6
    family = AF_INET;
    descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  }
  Socket socket(descriptor);
  set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);  // a restarted job finds its port again
  sockaddr_in6 six{};
  sockaddr_in four{};
  six.sin6_family = AF_INET6;
  four.sin_family = AF_INET;
  six.sin6_port = four.sin_port = htons(static_cast<std::uint16_t>(port));
  if (family == AF_INET6) set(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  const auto* address = family == AF_INET6 ? reinterpret_cast<const sockaddr*>(&six)
                                           : reinterpret_cast<const sockaddr*>(&four);
  const socklen_t size = family == AF_INET6 ? sizeof six : sizeof four;
  if (descriptor < 0 || ::bind(descriptor, address, size) != 0 ||
      ::listen(descriptor, SOMAXCONN) != 0) {
    throw Error(std::strerror(errno));
  }
  return socket;
}

Socket Socket::connect(const std::string& host, int port, Deadline deadline) {
  std::string why = "no address";
  while (true) {
    const Addresses addresses = resolve(host, port, why);
    for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next) {
      Socket socket = try_connect(*a, deadline, why);
      if (socket.open()) return socket;
    }
    if (milliseconds_left(deadline) == 0) throw Error(why);
    std::this_thread::sleep_for(milliseconds(std::min(200, milliseconds_left(deadline))));
  }
}

std::optional<Socket> Socket::accept(Deadline deadline) const {
  while (wait_for(descriptor_, POLLIN, &deadline)) {
    const int descriptor = ::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) {
      tune(descriptor);
      return Socket(descriptor);
    }
    // Whoever knocked has gone again.
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
      throw Error(std::strerror(errno));
    }
  }
  return std::nullopt;
}

void Socket::send(std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      (void)wait_for(descriptor_, POLLOUT, nullptr);
    } else if (errno != EINTR) {
      throw Error(std::strerror(errno));
    }
  }
}

void Socket::receive(std::span<std::byte> bytes) const {
  (void)receive_all(descriptor_, bytes, nullptr);
}

bool Socket::receive_until(std::span<std::byte> bytes, Deadline deadline) const {
  try {
    return receive_all(descriptor_, bytes, &deadline);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace plumbline
