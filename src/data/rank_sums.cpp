#include "data/rank_sums.h"

#include <cmath>
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
