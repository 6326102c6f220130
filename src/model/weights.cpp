// Declaring tensors, and their first values: Philox words to uniform numbers, Box-Muller to normal.
#include "model/weights.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "core/philox.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash;
}

/// In (0, 1), never an end.
double open_unit(std::uint32_t word) { return (word + 0.5) * 0x1.0p-32; }

using Four = std::array<double, 4>;

Four uniform_four(const Words& w) {
  Four out{};
  for (std::size_t i = 0; i < 4; ++i) out[i] = 2.0 * open_unit(w[i]) - 1.0;
  return out;
}

/// Box-Muller: words (0, 1) and (2, 3) give two normal numbers each.
Four normal_four(const Words& w) {
  Four out{};
  for (std::size_t i = 0; i < 4; i += 2) {
    const double radius = std::sqrt(-2.0 * std::log(open_unit(w[i])));
    const double angle = 2.0 * std::numbers::pi * open_unit(w[i + 1]);
    out[i] = radius * std::cos(angle);
    out[i + 1] = radius * std::sin(angle);
  }
  return out;
}

/// Numbers beyond two deviations are drawn again from the same place of the next attempt.
Four truncated_four(std::uint64_t stream, std::uint32_t d) {
  Four out = normal_four(draw(stream, d));
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::uint32_t attempt = 1; std::abs(out[i]) > 2.0; ++attempt) {
      out[i] = normal_four(philox(stream, {d, attempt, 0, 0}))[i];
    }
  }
  return out;
}

Four four_of(Init::Kind kind, std::uint64_t stream, std::uint32_t d) {
  switch (kind) {
    case Init::Kind::uniform:
      return uniform_four(draw(stream, d));
    case Init::Kind::normal:
      return normal_four(draw(stream, d));
    case Init::Kind::truncated_normal:
      return truncated_four(stream, d);
    case Init::Kind::constant:
      break;
  }
  throw InternalError("a constant tensor draws no numbers");
}

void fill_random(const at::Tensor& tensor, Init init, std::uint64_t stream) {
  require(tensor.is_contiguous() && tensor.scalar_type() == at::kFloat && tensor.is_cpu(),
          "fresh weights are float32 on the CPU");
  float* data = tensor.data_ptr<float>();
  const std::int64_t n = tensor.numel();
  at::parallel_for(0, (n + 3) / 4, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const Four values = four_of(init.kind, stream, static_cast<std::uint32_t>(block));
      const std::int64_t count = std::min<std::int64_t>(4, n - 4 * block);
      for (std::int64_t i = 0; i < count; ++i) {
        data[4 * block + i] = static_cast<float>(init.scale * values[static_cast<std::size_t>(i)]);
      }
    }
  });
}

}  // namespace

Init torch_default(std::int64_t fan_in) {
  return uniform(1.0 / std::sqrt(static_cast<double>(fan_in)));
}

at::Tensor Weights::parameter(const std::string& name, std::initializer_list<std::int64_t> shape,
                              Init init) {
  at::Tensor tensor = at::empty(shape, at::device(device_).dtype(at::kFloat));
  tensor.set_requires_grad(true);
  entries_.push_back({name, tensor, init, true});
  return tensor;
}

at::Tensor Weights::buffer(const std::string& name, std::initializer_list<std::int64_t> shape,
                           Init init, at::ScalarType type) {
  entries_.push_back({name, at::empty(shape, at::device(device_).dtype(type)), init, false});
  return entries_.back().tensor;
}

void initialise(const Weights& weights, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  for (const Weights::Entry& entry : weights.entries()) {
    if (entry.init.kind == Init::Kind::constant) {
      entry.tensor.fill_(entry.init.scale);
    } else {
      fill_random(entry.tensor, entry.init, derive(seed, Purpose::init, fnv1a64(entry.name)));
    }
  }
}

}  // namespace plumbline
