// Schedules, packing, configuration checks.
#include <cmath>
#include <numbers>

#include "code_of.h"
#include "doctest_torch.h"
#include "engine/error.h"
#include "engine/packing.h"
#include "engine/parallel.h"
#include "engine/runtime.h"
#include "engine/schedule.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

TEST_CASE("schedules") {
  const Schedule constant{Schedule::Kind::constant, 4, 0, 0};
  CHECK(constant.factor(0) == 0.25);
  CHECK(constant.factor(3) == 1);
  CHECK(constant.factor(1000) == 1);
  const Schedule linear{Schedule::Kind::linear, 2, 12, 0.1};
  CHECK(linear.factor(1) == 1);
  CHECK(linear.factor(7) == doctest::Approx(0.1 + 0.9 * 0.5));
  CHECK(linear.factor(12) == doctest::Approx(0.1));
  CHECK(linear.factor(50) == doctest::Approx(0.1));
  const Schedule cosine{Schedule::Kind::cosine, 0, 10, 0};
  CHECK(cosine.factor(0) == 1);
  CHECK(cosine.factor(3) == doctest::Approx(0.5 * (1 + std::cos(std::numbers::pi * 0.3))));
}

TEST_CASE("ragged arrays whose offsets or tokens lie are never read") {
  const std::vector<int32_t> tokens = {1, 2, 3}, foreign = {1, 2, 37};
  const std::vector<uint32_t> good = {0, 1, 3}, late = {1, 3}, short_of = {0, 2}, falling = {0, 3, 2, 3};
  const auto validate = [](const RaggedTokens& batch) { return code_of([&] { batch.validate(37); }); };
  CHECK(validate({tokens, good}) == "");
  CHECK(validate({tokens, late}) == "INTERNAL");
  CHECK(validate({tokens, short_of}) == "INTERNAL");
  CHECK(validate({tokens, falling}) == "INTERNAL");
  CHECK(validate({tokens, {}}) == "INTERNAL");
  CHECK(validate({foreign, good}) == "INTERNAL");
}

TEST_CASE("micro-batches hold every row once, within the budget, longest first") {
  const std::vector<int64_t> lengths = {5, 0, 9, 3, 3, 20, 1}, rows = {0, 1, 2, 3, 4, 5, 6};
  const auto batches = micro_batches(rows, lengths, 10);
  const std::vector<std::vector<int64_t>> expected = {{5}, {2}, {0, 3}, {4, 6}};
  CHECK(batches == expected);
}

TEST_CASE("packing keeps positions and predicted tokens") {
  const TokenRows rows({3, 0, 4}, 37);
  const std::vector<int64_t> order = {2, 0}, lengths = {2, 0, 3};
  const PackedBatch packed = pack_rows(rows.view(), order, lengths, at::kCPU);
  CHECK(packed.size() == 5);
  CHECK(packed.max_length == 3);
  const std::vector<int64_t> predicted = {4, 5, 6, 1, 2};
  CHECK(packed.predicted == predicted);
  CHECK(packed.offsets.equal(at::tensor({0, 3, 5}, at::kInt)));
  CHECK(packed.positions.equal(at::tensor({0, 1, 2, 0, 1}, at::kLong)));
  CHECK(gather_predicted(rows.view().tokens, packed)[3] == rows.tokens[1]);
}

TEST_CASE("items are dealt out evenly and always alike") {
  const std::vector<double> costs = {1, 5, 2, 4, 3};
  const std::vector<std::vector<int64_t>> expected = {{0, 1, 2}, {3, 4}};
  CHECK(deal_out(costs, 2) == expected);
}

TEST_CASE("no buffer is cut by sizes that make no sense") {
  const auto code_with = [](int64_t ModelConfig::* size, int64_t value) {
    ModelConfig config = qwen2_config();
    config.*size = value;
    return code_of([&] { Model::create(config, {}); });
  };
  CHECK(code_with(&ModelConfig::kv_heads, 2) == "");
  CHECK(code_with(&ModelConfig::kv_heads, 3) == "INTERNAL");
  CHECK(code_with(&ModelConfig::hidden, 0) == "INTERNAL");
  CHECK(code_with(&ModelConfig::head_dim, 7) == "INTERNAL");
}

TEST_CASE("a second engine with other threads is refused while the first lives") {
  {
    const RuntimeLease first(1);
    const RuntimeLease same(1);
    CHECK_THROWS_AS(RuntimeLease(2), Error);
  }
  CHECK_NOTHROW(RuntimeLease(2));
}

TEST_CASE("file order of the parameters and their place in the flat buffer") {
  for (const ModelConfig& config : {qwen2_config(), llama_config(), qwen3_config()}) {
    const ParameterLayout layout(config, true);
    const at::Tensor flat = at::arange(layout.size(), at::kFloat);
    const DecoderWeights views = layout.views(flat);
    const auto specs = parameter_specs(config, true);
    const auto named = layout.named(flat);
    REQUIRE(named.size() == specs.size());
    const auto find = [&](const std::string& name) {
      for (const NamedTensor& entry : named) {
        if (entry.name == name) return entry.tensor;
      }
      return at::Tensor{};
    };
    const at::Tensor qkv = at::cat({find("model.layers.1.self_attn.q_proj.weight"),
                                    find("model.layers.1.self_attn.k_proj.weight"),
                                    find("model.layers.1.self_attn.v_proj.weight")});
    CHECK(qkv.equal(views.layers[1].qkv));
    CHECK(at::cat({find("model.layers.0.mlp.gate_proj.weight"), find("model.layers.0.mlp.up_proj.weight")})
              .equal(views.layers[0].gate_up));
    CHECK(find(config.tied ? "model.embed_tokens.weight" : "lm_head.weight").equal(views.head));
    CHECK(find("value_head.bias").equal(views.value_bias));
    CHECK(layout.backbone_size() <= layout.size());
  }
}
