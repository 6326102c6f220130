#include "data/rank_sums.h"

#include <sstream>
#include <type_traits>

#include "plumbline/error.h"

namespace plumbline {
namespace {

/// Calls visit(number) for each, always in this order.
template <typename Visit>
void each_number(LoaderStats& stats, Visit visit) {
  for (StageTimes* stage : {&stats.plan, &stats.read, &stats.build}) {
    visit(stage->threads);
    for (double* s : {&stage->busy_s, &stage->input_s, &stage->output_s, &stage->memory_s}) {
      visit(*s);
    }
  }
  for (double* s : {&stats.elapsed_s, &stats.text_s, &stats.decode_s, &stats.resize_s}) visit(*s);
  visit(stats.threads);
  visit(stats.truncated_captions);
  for (SourceCounts& source : stats.sources) {
    visit(source.delivered);
    visit(source.bytes);
    visit(source.substitutes);
    visit(source.read_s);
    visit(source.retries);
    for (std::int64_t& count : source.bad) visit(count);
  }
}

}  // namespace

std::vector<double> loader_numbers(const LoaderStats& stats) {
  LoaderStats copy = stats;
  std::vector<double> numbers;
  each_number(copy, [&](auto& number) { numbers.push_back(static_cast<double>(number)); });
  return numbers;
}

void check_same_data(std::span<const std::string> fingerprints) {
  for (std::size_t rank = 1; rank < fingerprints.size(); ++rank) {
    if (fingerprints[rank] == fingerprints[0]) continue;
    std::istringstream mine(fingerprints[rank]), first(fingerprints[0]);
    std::string here, there;
    do {
      if (!std::getline(mine, here, ';')) here = "nothing";
      if (!std::getline(first, there, ';')) there = "nothing";
    } while (here == there);
    throw DataError(str("rank ", rank, " sees other data than rank 0: ", here, " instead of ",
                        there, " (source:samples:hash); are the shards the same on every host?"));
  }
}

LoaderStats over_ranks(const LoaderStats& mine, std::span<const double> sums, int ranks,
                       double longest_wait_s) {
  LoaderStats all = mine;
  std::size_t i = 0;
  each_number(all, [&](auto& number) {
    using Number = std::remove_reference_t<decltype(number)>;
    require(i < sums.size(), "over_ranks: the ranks have other sources");
    number = static_cast<Number>(sums[i++]);
  });
  require(i == sums.size(), "over_ranks: the ranks have other sources");
  all.elapsed_s /= ranks;
  all.consumer_wait_s = longest_wait_s;
  return all;
}

}  // namespace plumbline
