#include "engine/adapter.h"

#include <string>

#include "kernels/philox.h"

namespace spa {
namespace {

/// Hugging Face's names within a layer, by Target.
constexpr std::array<const char*, target_count> target_names = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj",
};

}  // namespace

TargetShape target_shape(const ModelConfig& c, Target target) {
  switch (target) {
    case Target::q:
      return {c.query_size(), c.hidden, 0};
    case Target::k:
      return {c.kv_size(), c.hidden, c.query_size()};
    case Target::v:
      return {c.kv_size(), c.hidden, c.query_size() + c.kv_size()};
    case Target::o:
      return {c.hidden, c.query_size(), 0};
    case Target::gate:
      return {c.intermediate, c.hidden, 0};
    case Target::up:
      return {c.intermediate, c.hidden, c.intermediate};
    case Target::down:
      break;
  }
  return {c.hidden, c.intermediate, 0};
}

std::vector<ParameterSpec> adapter_specs(const ModelConfig& config, const AdapterConfig& adapter,
                                         bool value_head) {
  std::vector<ParameterSpec> specs;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (int64_t target = 0; target < target_count; ++target) {
      if (!adapter.targets[target]) continue;
      const TargetShape shape = target_shape(config, static_cast<Target>(target));
      const std::string name =
          "base_model.model.model.layers." + std::to_string(layer) + "." + target_names[target];
      specs.push_back({name + ".lora_A.weight", {adapter.rank, shape.in}});
      specs.push_back({name + ".lora_B.weight", {shape.out, adapter.rank}});
    }
  }
  if (value_head) {
    specs.push_back({"value_head.weight", {1, config.hidden}});
    specs.push_back({"value_head.bias", {1}});
  }
  return specs;
}

kernels::DropoutKey dropout_key(uint64_t seed, uint64_t update, int64_t layer, Target target,
                                double probability) {
  // A key of its own, so that masks share no random number with sampling under the same seed.
  const auto block = kernels::philox4x32(seed, 0, ~uint64_t{0});
  const uint64_t key = uint64_t{block.word[0]} << 32 | block.word[1];
  const uint64_t stream = update << 24 | static_cast<uint64_t>(layer) << 4 | static_cast<uint64_t>(target);
  return {key, stream, probability};
}

}  // namespace spa
