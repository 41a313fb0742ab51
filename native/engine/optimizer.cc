#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "engine/error.h"
#include "kernels/adamw.h"

namespace spa {

void AdamWOptions::validate() const {
  const auto require = [](bool condition, const char* message) {
    if (!condition) throw Error("BAD_ARGUMENT", std::string("optimizer: ") + message);
  };
  require(learning_rate >= 0 && std::isfinite(learning_rate), "learningRate must be 0 or above");
  require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "betas must be in [0, 1)");
  require(weight_decay >= 0 && std::isfinite(weight_decay), "weightDecay must be 0 or above");
  require(epsilon > 0 && std::isfinite(epsilon), "epsilon must be above 0");
}

AdamW::AdamW(const at::Tensor& parameters, const AdamWOptions& options, std::vector<ParameterGroup> groups)
    : options_(options), groups_(std::move(groups)) {
  options_.validate();
  const auto state = parameters.options().dtype(at::kFloat);
  first_moment_ = at::zeros(parameters.sizes(), state);
  second_moment_ = at::zeros(parameters.sizes(), state);
  reset_master(parameters);
}

void AdamW::reset_master(const at::Tensor& parameters) {
  if (parameters.scalar_type() != at::kFloat) master_ = parameters.to(at::kFloat);
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
    const auto p = select(parameters, only), g = select(gradient, only), m = select(first_moment_, only),
               v = select(second_moment_, only);
    std::vector<kernels::AdamWBuffers> buffers;
    for (size_t i = 0; i < p.size(); ++i) {
      buffers.push_back(
          {p[i], g[i], m[i], v[i], master_.defined() ? select(master_, only)[i] : at::Tensor{}});
    }
    kernels::adamw_(buffers, {learning_rate, options_.beta1, options_.beta2, options_.epsilon,
                              options_.weight_decay, ++groups_[group].updates, gradient_scale});
  }
}

std::vector<NamedTensor> AdamW::export_state(const ParameterLayout& layout) const {
  std::vector<NamedTensor> state = layout.named(first_moment_.cpu(), "exp_avg.");
  const auto append = [&](std::vector<NamedTensor> more) {
    state.insert(state.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  append(layout.named(second_moment_.cpu(), "exp_avg_sq."));
  if (master_.defined()) append(layout.named(master_.cpu(), "master."));
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
    if (!at::isfinite(entry->second).all().item<bool>()) {
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
  const auto take = [&](const at::Tensor& buffer, const std::string& prefix) {
    if (!buffer.defined()) return;
    for (const NamedTensor& target : layout.named(buffer, prefix)) target.tensor.copy_(found.at(target.name));
  };
  take(first_moment_, "exp_avg.");
  take(second_moment_, "exp_avg_sq.");
  take(master_, "master.");
  const at::Tensor updates = found.at("updates").to(at::kFloat).contiguous();
  for (size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].updates = static_cast<int64_t>(updates.data_ptr<float>()[i]);
  }
}

}  // namespace spa
