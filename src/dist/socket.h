// TCP connections that send and receive whole buffers. Errors are Error with the system's reason;
// who was being talked to is for the caller to say.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace plumbline {

/// A connected or listening TCP socket; owns its descriptor.
class Socket {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  /// Listens at `port` on every address of this host, IPv6 and IPv4. Throws Error.
  [[nodiscard]] static Socket listen(int port);
  /// Connects, trying again while nobody listens there yet. Throws Error after `deadline`, with the
  /// last reason.
  [[nodiscard]] static Socket connect(const std::string& host, int port, Deadline deadline);
  /// The next connection, or nothing when none came before `deadline`.
  [[nodiscard]] std::optional<Socket> accept(Deadline deadline) const;

  /// Throws Error when the connection breaks or the other side has closed it.
  void send(std::span<const std::byte> bytes) const;
  void receive(std::span<std::byte> bytes) const;
  /// False when the bytes have not all come before `deadline`, or the other side has gone.
  [[nodiscard]] bool receive_until(std::span<std::byte> bytes, Deadline deadline) const;

  [[nodiscard]] bool open() const { return descriptor_ >= 0; }
  void close();

 private:
  int descriptor_ = -1;
};

}  // namespace plumbline
