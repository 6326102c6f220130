// Foreign state dicts into a model: names and shapes are brought to the model's, then everything is
// checked, then everything is copied.
#include <cmath>
#include <map>
#include <set>

#include "plumbline/error.h"
#include "plumbline/model.h"

namespace plumbline {
namespace {

std::string strip_wrappers(std::string name) {
  for (bool wrapped = true; wrapped;) {
    wrapped = false;
    for (const std::string_view prefix : {"module.", "_orig_mod."}) {
      if (!name.starts_with(prefix)) continue;
      name.erase(0, prefix.size());
      wrapped = true;
    }
  }
  return name;
}

/// Entries of foreign files that are no weights of the model.
bool is_ignored(const std::string& name) {
  return name == "input_resolution" || name == "context_length" || name == "vocab_size" ||
         name == "attn_mask" || name.ends_with(".attn_mask") || name.ends_with("position_ids");
}

bool is_text_name(const std::string& name) {
  for (const std::string_view prefix :
       {"text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

/// Renamed tensors of the file. Throws for a name that stands twice.
std::map<std::string, at::Tensor> adapt_names(const ClipModel& model, const NamedTensors& tensors,
                                              const std::string& where,
                                              std::vector<std::string>& notes) {
  std::map<std::string, at::Tensor> renamed;
  bool prefixed = false;
  for (const auto& [raw, tensor] : tensors) {
    std::string name = strip_wrappers(raw);
    if (is_ignored(name)) continue;
    if (model.options().custom_text && is_text_name(name)) {
      name.insert(0, "text.");
      prefixed = true;
    }
    if (!renamed.emplace(name, tensor).second) {
      throw UsageError(str(where, ": the tensor '", name, "' stands twice"));
    }
  }
  if (prefixed) notes.emplace_back("text tensors were given the prefix 'text.'");
  return renamed;
}

/// [n, w] to [m, w] along a line: source coordinate max((i + 0.5) n/m - 0.5, 0).
at::Tensor resize_line(const at::Tensor& from_nw, std::int64_t m) {
  return at::upsample_linear1d(from_nw.t().unsqueeze(0), {m}, false).squeeze(0).t().contiguous();
}

/// The class token stays; the other n tokens, a square grid, are resized to down x across by
/// antialiased bicubic interpolation. Undefined when n is no square.
at::Tensor resize_grid(const at::Tensor& from, std::int64_t down, std::int64_t across) {
  const std::int64_t n = from.size(0) - 1;
  const auto side = static_cast<std::int64_t>(std::sqrt(static_cast<double>(n)));
  if (n < 1 || side * side != n) return {};
  const at::Tensor grid =
      from.narrow(0, 1, n).view({1, side, side, from.size(1)}).permute({0, 3, 1, 2}).contiguous();
  const at::Tensor resized = at::_upsample_bicubic2d_aa(grid, {down, across}, false)
                                 .permute({0, 2, 3, 1})
                                 .reshape({down * across, from.size(1)});
  return at::cat({from.narrow(0, 0, 1), resized}, 0);
}

/// In float32, but for float64 tensors, as they would be used.
at::Tensor exact_float(const at::Tensor& tensor) {
  const bool wide = tensor.scalar_type() == at::kDouble;
  return tensor.detach().to(at::kCPU, wide ? at::kDouble : at::kFloat).contiguous();
}

/// The tensor in the model's shape if a rule allows, else unchanged.
at::Tensor adapt_shape(const ModelOptions& options, const std::string& name, const at::Tensor& from,
                       at::IntArrayRef want, std::vector<std::string>& notes) {
  if (from.sizes() == want || !from.is_floating_point()) return from;
  if ((name == "logit_scale" || name == "logit_bias") && from.numel() == 1) {
    return from.reshape(want);
  }
  const bool table = from.dim() == 2 && want.size() == 2 && from.size(1) == want[1];
  const VisionOptions& v = options.vision;
  const std::string text_name =
      options.custom_text ? "text.positional_embedding" : "positional_embedding";
  at::Tensor resized;
  if (table && name == text_name && from.size(0) > 0) {
    resized = resize_line(exact_float(from), want[0]);
  } else if (table && name == "visual.positional_embedding") {
    resized =
        resize_grid(exact_float(from), v.image_height / v.patch_size, v.image_width / v.patch_size);
  }
  if (!resized.defined()) return from;
  notes.push_back(str(name, " was resized from ", from.size(0), " to ", want[0], " positions"));
  return resized;
}

struct Differences {
  std::vector<std::string> missing, unexpected, reshaped;

  void throw_if_any(const std::string& where, const std::string& model) const {
    if (missing.empty() && unexpected.empty() && reshaped.empty()) return;
    std::string message = str(where, " does not fit the model ", model, ":");
    const auto list = [&](const char* title, const std::vector<std::string>& names) {
      if (names.empty()) return;
      message += str("\n  ", names.size(), " ", title, ":");
      for (const std::string& name : names) message.append("\n    ").append(name);
    };
    list("missing", missing);
    list("unexpected", unexpected);
    list("of another shape (file, model)", reshaped);
    throw UsageError(message);
  }
};

void check_finite(const std::string& name, const at::Tensor& tensor, const std::string& where) {
  if (!tensor.is_floating_point()) return;
  const at::Tensor bad = tensor.isfinite().logical_not();
  if (!bad.any().item<bool>()) return;
  throw DataError(str(where, ": ", bad.sum().item<std::int64_t>(), " of ", tensor.numel(),
                      " values of '", name, "' are not finite, the first at element ",
                      bad.flatten().to(at::kByte).argmax().item<std::int64_t>()));
}

}  // namespace

std::vector<std::string> load_state_dict(ClipModel& model, const NamedTensors& tensors,
                                         const std::string& where) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> notes;
  std::map<std::string, at::Tensor> given = adapt_names(model, tensors, where, notes);
  const NamedTensors state = model.state_dict();
  Differences differences;
  std::vector<at::Tensor> source;
  for (const auto& [name, tensor] : state) {
    const auto found = given.find(name);
    if (found == given.end()) {
      source.push_back(at::zeros_like(tensor));
      if (name == "logit_bias") {
        notes.emplace_back("logit_bias is missing and starts at 0");
      } else {
        differences.missing.push_back(plumbline::str(name, " ", tensor.sizes()));
      }
      continue;
    }
    source.push_back(adapt_shape(model.options(), name, found->second, tensor.sizes(), notes));
    if (source.back().sizes() != tensor.sizes()) {
      differences.reshaped.push_back(
          plumbline::str(name, " ", source.back().sizes(), ", ", tensor.sizes()));
    }
    given.erase(found);
  }
  for (const auto& [name, tensor] : given) {
    differences.unexpected.push_back(plumbline::str(name, " ", tensor.sizes()));
  }
  differences.throw_if_any(where, model.options().name);
  for (std::size_t i = 0; i < state.size(); ++i) check_finite(state[i].first, source[i], where);
  for (std::size_t i = 0; i < state.size(); ++i) at::Tensor(state[i].second).copy_(source[i]);
  return notes;
}

}  // namespace plumbline
