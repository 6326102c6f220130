#include "train/replicas.h"

#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "dist/agree.h"
#include "plumbline/handle.h"

namespace plumbline {
namespace {

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Who is wrong, as far as the hashes can tell.
std::string name_the_wrong(const std::vector<std::uint64_t>& hashes,
                           const std::vector<std::string>& hosts) {
  std::map<std::uint64_t, std::size_t> counts;
  for (const std::uint64_t hash : hashes) ++counts[hash];
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const bool majority = 2 * most->second > hashes.size();
  std::string list;
  for (std::size_t r = 0; r < hashes.size(); ++r) {
    if (majority && hashes[r] == most->first) continue;
    list += str(list.empty() ? "" : ", ", "rank ", r, " on ", hosts[r], " (", hex(hashes[r]), ")");
  }
  if (!majority) return "the weights differ between the ranks, without a majority: " + list;
  return str("the weights differ from those of the other ", most->second, " ranks on ", list);
}

}  // namespace

std::uint64_t hash_of(const NamedTensors& tensors) {
  const Handle<XXH3_state_t, XXH3_freeState> state(XXH3_createState());
  XXH3_64bits_reset(state.get());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor host = tensor.detach().to(at::kCPU).contiguous();
    XXH3_64bits_update(state.get(), host.data_ptr(), host.nbytes());
  }
  return XXH3_64bits_digest(state.get());
}

void check_replicas(const NamedTensors& tensors, Communicator& ranks, std::int64_t step) {
  if (ranks.size() == 1) return;
  const std::uint64_t mine = hash_of(tensors);
  std::vector<std::uint64_t> all(static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(&mine, all.data(), 1, ElementType::i64);
  if (std::all_of(all.begin(), all.end(), [&](std::uint64_t hash) { return hash == all[0]; })) {
    return;
  }
  const std::vector<std::string> hosts = ranks.all_gather_bytes(host_name());
  throw AgreedError(str("after step ", step, " ", name_the_wrong(all, hosts),
                        ": memory or a link is faulty; no checkpoint was written, the same command "
                        "goes on from the last one"),
                    ExitCode::resumable);
}

}  // namespace plumbline
