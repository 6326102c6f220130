#include "train/merge.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/file.h"
#include "plumbline/error.h"

namespace plumbline {
namespace {

/// What decides the numbers of a model beside its tensors.
std::vector<std::pair<std::string, std::string>> behaviour_of(const ModelOptions& o) {
  const VisionOptions& v = o.vision;
  const TextOptions& t = o.text;
  return {{"vision activation", v.activation},
          {"vision head_width", str(v.head_width)},
          {"vision pool_type", v.pool_type},
          {"vision final_ln_after_pool", str(v.final_ln_after_pool)},
          {"vision norm_eps", str(v.norm_eps)},
          {"image_size", str(v.image_height, " x ", v.image_width)},
          {"text activation", t.activation},
          {"text heads", str(t.heads)},
          {"text pool_type", t.pool_type},
          {"text eos_id", str(t.eos_id)},
          {"text no_causal_mask", str(t.no_causal_mask)},
          {"text norm_eps", str(t.norm_eps)}};
}

std::string describe(const at::Tensor& tensor) {
  return plumbline::str(tensor.sizes(), " ", tensor.scalar_type());  // not c10::str
}

std::vector<std::string> tensor_differences(const NamedTensors& a, const std::string& where_a,
                                            const NamedTensors& b, const std::string& where_b) {
  const std::map<std::string, at::Tensor> in_a(a.begin(), a.end()), in_b(b.begin(), b.end());
  std::vector<std::string> found;
  for (const auto& [name, tensor] : in_a) {
    const auto other = in_b.find(name);
    if (other == in_b.end()) {
      found.push_back(str("'", name, "' is only in ", where_a));
    } else if (tensor.sizes() != other->second.sizes() ||
               tensor.scalar_type() != other->second.scalar_type()) {
      found.push_back(str("'", name, "' is ", describe(tensor), " in ", where_a, " and ",
                          describe(other->second), " in ", where_b));
    }
  }
  for (const auto& [name, tensor] : in_b) {
    if (!in_a.contains(name)) found.push_back(str("'", name, "' is only in ", where_b));
  }
  return found;
}

/// `tensors` in the order of `like`.
std::vector<at::Tensor> values_in_order(const NamedTensors& tensors, const NamedTensors& like) {
  const std::map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  std::vector<at::Tensor> values;
  for (const auto& [name, tensor] : like) {
    const auto found = by_name.find(name);
    require(found != by_name.end() && found->second.sizes() == tensor.sizes(),
            "models to merge have the same tensors");
    values.push_back(found->second);
  }
  return values;
}

NamedTensors copy_of(const NamedTensors& tensors) {
  NamedTensors copy;
  for (const auto& [name, tensor] : tensors) copy.emplace_back(name, tensor.clone());
  return copy;
}

}  // namespace

void check_mergeable(const Checkpoint& a, const std::string& where_a, const Checkpoint& b,
                     const std::string& where_b) {
  std::vector<std::string> found = tensor_differences(a.model, where_a, b.model, where_b);
  const auto in_a = behaviour_of(parse_model(a.model_json, where_a));
  const auto in_b = behaviour_of(parse_model(b.model_json, where_b));
  for (std::size_t i = 0; i < in_a.size(); ++i) {
    if (in_a[i].second == in_b[i].second) continue;
    found.push_back(str(in_a[i].first, " is ", in_a[i].second, " in ", where_a, " and ",
                        in_b[i].second, " in ", where_b));
  }
  if (found.empty()) return;
  std::string all;
  for (const std::string& line : found) all += "\n  " + line;
  throw UsageError(str(where_a, " and ", where_b, " cannot be merged:", all));
}

NamedTensors interpolate(const NamedTensors& theta0, const NamedTensors& theta1, double alpha) {
  require(alpha >= 0 && alpha <= 1, "alpha is in [0, 1]");
  // 1 * a + 0 * b is not a where a is -0 or b is not finite.
  if (alpha == 0) return copy_of(theta0);
  if (alpha == 1) return copy_of(theta1);
  const std::vector<at::Tensor> ends = values_in_order(theta1, theta0);
  NamedTensors merged;
  for (std::size_t i = 0; i < theta0.size(); ++i) {
    const auto& [name, start] = theta0[i];
    merged.emplace_back(
        name, start.is_floating_point() ? (1 - alpha) * start + alpha * ends[i] : ends[i].clone());
  }
  return merged;
}

void RunningMean::add(const NamedTensors& model) {
  if (size_ == 0) {
    for (const auto& [name, tensor] : model) {
      sum_.emplace_back(name, tensor.is_floating_point() ? tensor.to(torch::kDouble, false, true)
                                                         : tensor.clone());
      types_.push_back(tensor.scalar_type());
    }
  } else {
    const std::vector<at::Tensor> more = values_in_order(model, sum_);
    for (std::size_t i = 0; i < sum_.size(); ++i) {
      if (more[i].is_floating_point()) {
        sum_[i].second.add_(more[i]);
      } else {
        sum_[i].second.copy_(more[i]);
      }
    }
  }
  ++size_;
}

NamedTensors RunningMean::mean() const {
  require(size_ > 0, "a mean is of at least one model");
  NamedTensors result;
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    const auto& [name, sum] = sum_[i];
    result.emplace_back(name, sum.is_floating_point()
                                  ? (sum / static_cast<double>(size_)).to(types_[i])
                                  : sum.clone());
  }
  return result;
}

NamedTensors RunningMean::mean_with(const NamedTensors& model) const {
  RunningMean more;
  more.sum_ = copy_of(sum_);
  more.types_ = types_;
  more.size_ = size_;
  more.add(model);
  return more.mean();
}

GreedySoup greedy_soup(std::size_t count, const std::function<NamedTensors(std::size_t)>& read,
                       const std::function<double(const NamedTensors&)>& held_out) {
  require(count > 0, "a soup is of at least one model");
  GreedySoup soup;
  for (std::size_t i = 0; i < count; ++i) soup.held_out.push_back(held_out(read(i)));
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return soup.held_out[a] != soup.held_out[b] ? soup.held_out[a] > soup.held_out[b] : a > b;
  });
  RunningMean mean;
  for (const std::size_t place : order) {
    const NamedTensors model = read(place);
    const bool first = mean.size() == 0;
    NamedTensors candidate = mean.mean_with(model);
    const double accuracy = first ? soup.held_out[place] : held_out(candidate);
    const bool kept = first || accuracy > soup.accuracy;
    soup.steps.push_back({place, accuracy, kept});
    if (!kept) continue;
    mean.add(model);
    soup.model = std::move(candidate);
    soup.accuracy = accuracy;
  }
  return soup;
}

std::optional<MergeRecord> read_merge_record(const std::string& checkpoint) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::absolute(checkpoint).lexically_normal();
  const fs::path path = folder.parent_path() / kMergeFile;
  if (!fs::exists(path)) return std::nullopt;
  try {
    const auto json = nlohmann::json::parse(read_file(path.string()));
    for (const auto& output : json.at("outputs")) {
      if (output.at("checkpoint") != folder.filename().string()) continue;
      MergeRecord record{json.at("merge"), {}, std::nullopt};
      for (const auto& input : json.at("inputs")) record.inputs.push_back(input.at("checkpoint"));
      if (output.contains("alpha")) record.alpha = output["alpha"].get<double>();
      return record;
    }
    return std::nullopt;
  } catch (const nlohmann::json::exception& e) {
    throw DataError(str(path.string(), ": not the record of a merge: ", e.what()));
  }
}

std::vector<double> parse_alphas(const std::string& text) {
  const UsageError wrong(str("--alpha ", text, ": must be a number in [0, 1], or a range ",
                             "first:last:step of them that ends at its last value"));
  std::vector<double> parts;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t to = std::min(text.find(':', from), text.size());
    double value = 0;
    const auto [end, error] = std::from_chars(text.data() + from, text.data() + to, value);
    if (error != std::errc() || end != text.data() + to || !(value >= 0 && value <= 1)) throw wrong;
    parts.push_back(value);
    from = to + 1;
  }
  if (parts.size() == 1) return parts;
  if (parts.size() != 3 || !(parts[2] >= 1e-6) || parts[1] < parts[0]) throw wrong;
  const double steps = (parts[1] - parts[0]) / parts[2];
  if (std::abs(steps - std::round(steps)) > 1e-6) throw wrong;
  std::vector<double> alphas;
  for (std::int64_t i = 0; i <= std::llround(steps); ++i) {
    // 3 * 0.1 is not the number 0.3: rounded, a range has the values that its decimals say.
    alphas.push_back(std::round((parts[0] + static_cast<double>(i) * parts[2]) * 1e9) / 1e9);
  }
  return alphas;
}

std::string alpha_name(double alpha) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.9f", alpha);
  std::string name = digits;
  while (name.size() > 4 && name.back() == '0') name.pop_back();
  return "alpha-" + name;
}

}  // namespace plumbline
