#include "engine/optimizer.h"

#include <algorithm>
#include <unordered_map>

#include "engine/error.h"
#include "kernels/adamw.h"

namespace spa {

AdamW::AdamW(const at::Tensor& parameters, const AdamWOptions& options, std::vector<ParameterGroup> groups,
             MomentFormat format)
    : options_(options), groups_(std::move(groups)) {
  if (format == MomentFormat::int8) {
    for (const ParameterGroup& group : groups_) {
      auto& ranges = quantized_.emplace_back();
      for (const auto& [begin, end] : group.ranges) {
        ranges.push_back({kernels::zero_moment(end - begin, true, parameters.device()),
                          kernels::zero_moment(end - begin, false, parameters.device())});
      }
    }
  } else {
    const auto state = parameters.options().dtype(at::kFloat);
    first_moment_ = at::zeros(parameters.sizes(), state);
    second_moment_ = at::zeros(parameters.sizes(), state);
  }
  reset_master(parameters);
}

void AdamW::reset_master(const at::Tensor& parameters) {
  if (parameters.scalar_type() == at::kFloat) return;
  if (!master_.defined()) master_ = at::empty(parameters.sizes(), parameters.options().dtype(at::kFloat));
  master_.copy_(parameters);
}

std::vector<at::Tensor> AdamW::select(const at::Tensor& buffer, std::span<const size_t> groups) const {
  std::vector<at::Tensor> parts;
  for (const size_t group : groups) {
    for (const ParameterRange& range : groups_[group].ranges) {
      parts.push_back(buffer.narrow(0, range.begin, range.end - range.begin));
    }
  }
  return parts;
}

void AdamW::step(const at::Tensor& parameters, const at::Tensor& gradient, std::span<const size_t> groups,
                 double learning_rate, double gradient_scale) {
  for (const size_t group : groups) {
    const size_t only[] = {group};
    const kernels::AdamWParameters settings{learning_rate,    options_.beta1,        options_.beta2,
                                            options_.epsilon, options_.weight_decay, ++groups_[group].updates,
                                            gradient_scale};
    if (!quantized_.empty()) {
      step_quantized(parameters, gradient, group, settings);
      continue;
    }
    const auto p = select(parameters, only), g = select(gradient, only), m = select(first_moment_, only),
               v = select(second_moment_, only);
    std::vector<kernels::AdamWBuffers> buffers;
    for (size_t i = 0; i < p.size(); ++i) {
      buffers.push_back(
          {p[i], g[i], m[i], v[i], master_.defined() ? select(master_, only)[i] : at::Tensor{}});
    }
    kernels::adamw_(buffers, settings);
  }
}

void AdamW::step_quantized(const at::Tensor& parameters, const at::Tensor& gradient, size_t group,
                           const kernels::AdamWParameters& settings) {
  std::vector<kernels::QuantizedAdamWBuffers> buffers;
  for (size_t i = 0; i < groups_[group].ranges.size(); ++i) {
    const auto& [begin, end] = groups_[group].ranges[i];
    const auto part = [&, from = begin, count = end - begin](const at::Tensor& x) {
      return x.defined() ? x.narrow(0, from, count) : x;
    };
    const QuantizedRange& moments = quantized_[group][i];
    buffers.push_back({part(parameters), part(gradient), moments.first, moments.second, part(master_)});
  }
  kernels::quantized_adamw_(buffers, settings);
}

std::vector<NamedTensor> AdamW::export_state(const ParameterLayout& layout) const {
  std::vector<NamedTensor> state;
  const auto append = [&](const at::Tensor& buffer, const std::string& prefix) {
    if (!buffer.defined()) return;
    auto named = layout.named(buffer, prefix);
    state.insert(state.end(), std::make_move_iterator(named.begin()), std::make_move_iterator(named.end()));
  };
  append(first_moment_, "exp_avg.");
  append(second_moment_, "exp_avg_sq.");
  append(master_, "master.");
  int64_t range = 0;
  for (const auto& ranges : quantized_) {
    for (const auto& [first, second] : ranges) {
      const std::string number = std::to_string(range++);
      state.push_back({"exp_avg.codes." + number, first.codes});
      state.push_back({"exp_avg.scales." + number, first.scales});
      state.push_back({"exp_avg_sq.codes." + number, second.codes});
      state.push_back({"exp_avg_sq.scales." + number, second.scales});
    }
  }
  at::Tensor updates = at::empty({static_cast<int64_t>(groups_.size())}, at::kFloat);
  for (size_t i = 0; i < groups_.size(); ++i)
    updates.data_ptr<float>()[i] = static_cast<float>(groups_[i].updates);
  state.push_back({"updates", updates});
  return state;
}

void AdamW::check_state(const ParameterLayout& layout, const std::vector<NamedTensor>& state) const {
  std::unordered_map<std::string, at::Tensor> found;
  for (const NamedTensor& entry : state) found.emplace(entry.name, entry.tensor);
  for (const NamedTensor& expected : export_state(layout)) {
    const auto entry = found.find(expected.name);
    if (entry == found.end())
      throw Error("BAD_CHECKPOINT", "the optimiser state lacks tensor " + expected.name);
    if (entry->second.sizes() != expected.tensor.sizes()) {
      throw Error("BAD_CHECKPOINT",
                  "the optimiser state's tensor " + expected.name + " has another shape than the model's");
    }
    if (!all_finite(entry->second)) {
      throw Error("BAD_CHECKPOINT",
                  "the optimiser state's tensor " + expected.name + " holds NaN or infinite values");
    }
    found.erase(entry);
  }
  if (!found.empty()) {
    throw Error("BAD_CHECKPOINT", "the optimiser state holds tensor " + found.begin()->first +
                                      ", which does not fit the model");
  }
}

void AdamW::import_state(const ParameterLayout& layout, const std::vector<NamedTensor>& state) {
  check_state(layout, state);
  std::unordered_map<std::string, at::Tensor> found;
  for (const NamedTensor& entry : state) found.emplace(entry.name, entry.tensor);
  // What export_state gives are views of the state itself, but for the counts.
  for (const NamedTensor& target : export_state(layout)) {
    if (target.name != "updates") target.tensor.copy_(found.at(target.name));
  }
  const at::Tensor updates = found.at("updates").to(at::kFloat).contiguous();
  for (size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].updates = static_cast<int64_t>(updates.data_ptr<float>()[i]);
  }
}

}  // namespace spa
