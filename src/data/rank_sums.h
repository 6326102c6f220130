// What the loaders of all ranks did, as one: the caller adds the numbers up (data knows no ranks).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "plumbline/data.h"

namespace plumbline {

/// The numbers of `stats` that add up over ranks, in a fixed order: every rank of a run has as
/// many. What the index left out is the same on every rank and not among them.
[[nodiscard]] std::vector<double> loader_numbers(const LoaderStats& stats);

/// `mine` with the numbers of all ranks. Threads, times and counts are sums, the elapsed time is
/// the mean; `longest_wait_s` is that of the rank that waited longest, for which all others wait.
[[nodiscard]] LoaderStats over_ranks(const LoaderStats& mine, std::span<const double> sums,
                                     int ranks, double longest_wait_s);

/// Throws DataError naming the first rank whose data are not those of rank 0: hosts may see other
/// files under the same names. `fingerprints` are LoaderState::fingerprint of all ranks.
void check_same_data(std::span<const std::string> fingerprints);

}  // namespace plumbline
