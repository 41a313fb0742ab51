// The memory of tensors: counted to the byte, limited, and what checkpointing and 8-bit moments take of it.
#include <ATen/Parallel.h>

#include <cmath>

#include "code_of.h"
#include "doctest_torch.h"
#include "engine/memory.h"
#include "engine/trainer.h"
#include "kernels/aten_attention.h"
#include "kernels/log_prob.h"
#include "kernels/memory.h"
#include "ppo_loss.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

namespace {

int64_t current() { return kernels::host_memory().current; }

/// Bytes at most while `work` runs on one thread, above what was there before. On several it depends on
/// whether their peaks meet.
int64_t peak_of(const std::function<void()>& work) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const int64_t before = current();
  kernels::reset_host_peak();
  work();
  at::set_num_threads(threads);
  return kernels::host_memory().peak - before;
}

/// A model that is too large to run side by side.
ModelConfig large_config() {
  ModelConfig config = qwen2_config();
  config.vocab = 70000;
  config.hidden = 128;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 32;
  config.intermediate = 256;
  config.layers = 6;
  config.max_positions = 1024;
  return config;
}

TrainBatch sft_batch(const TokenRows& rows, const std::vector<uint8_t>& mask) { return {rows.view(), mask}; }

std::vector<uint8_t> full_mask(const TokenRows& rows) {
  std::vector<uint8_t> mask(rows.tokens.size(), 1);
  for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) mask[rows.offsets[row]] = 0;
  return mask;
}

}  // namespace

TEST_CASE("every byte of a tensor is counted, and given back") {
  kernels::install_host_allocator();
  const int64_t before = current();
  {
    const at::Tensor a = at::empty({1 << 20}, at::kFloat);
    CHECK(current() - before >= (1 << 22));
    CHECK(current() - before < (1 << 22) + 8192);
    const at::Tensor b = a.narrow(0, 5, 1000);
    const at::Tensor c = a.clone();
    CHECK(current() - before >= 2 * (1 << 22));
    CHECK(kernels::host_memory().peak >= current());
  }
  CHECK(current() == before);
}

TEST_CASE("an allocation over the limit fails and changes nothing") {
  kernels::install_host_allocator();
  const int64_t before = current();
  kernels::set_host_memory_limit(before + (1 << 20));
  CHECK_THROWS_AS(at::empty({1 << 20}, at::kFloat), c10::OutOfMemoryError);
  std::exception_ptr failure;
  try {
    at::parallel_for(0, 2, 1, [](int64_t, int64_t) { at::empty({1 << 20}, at::kFloat); });
  } catch (...) {
    failure = std::current_exception();
  }
  REQUIRE(failure);
  CHECK(is_out_of_memory(failure));
  CHECK(first_line_of(failure).find("the limit is") != std::string::npos);
  CHECK(current() == before);
  CHECK(at::empty({1000}, at::kFloat).numel() == 1000);
  kernels::set_host_memory_limit(0);
  CHECK(at::empty({1 << 20}, at::kFloat).numel() == 1 << 20);
}

TEST_CASE("gradients with activation checkpointing are the same to the last bit, in less memory") {
  kernels::install_host_allocator();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool large : {false, true}) {
      CAPTURE(large);
      ModelConfig config = large ? large_config() : qwen2_config();
      config.qk_norm = !large;
      const auto plain = Model::create(config, {.dtype = dtype, .seed = 5});
      const auto same = plain->clone(false);
      const TokenRows rows({200, 90, 120}, config.vocab, 3);
      const auto mask = full_mask(rows);
      Trainer everything(plain, nullptr, {});
      TrainerOptions options;
      options.activation_checkpointing = true;
      Trainer inputs(same, nullptr, options);
      StepMetrics a{}, b{};
      const int64_t plain_peak = peak_of([&] { a = everything.step(sft_batch(rows, mask), {}); });
      const int64_t peak = peak_of([&] { b = inputs.step(sft_batch(rows, mask), {}); });
      CHECK(a.at("loss") == b.at("loss"));
      CHECK(a.at("grad_norm") == b.at("grad_norm"));
      CHECK(at::equal(plain->flat(), same->flat()));
      CHECK(peak < plain_peak);
    }
  }
}

TEST_CASE("checkpointing draws an adapter's dropout masks again, the same ones") {
  kernels::install_host_allocator();
  const auto backbone = Model::create(large_config(), {.seed = 5});
  AdapterConfig adapter;
  adapter.rank = 4;
  adapter.scale = 2;
  adapter.dropout = 0.3;
  adapter.targets.fill(true);
  const auto plain = Model::add_adapter(backbone, adapter, true, 1), same = plain->clone(true);
  const TokenRows rows({100, 60, 80}, backbone->config().vocab, 3);
  const auto mask = full_mask(rows);
  TrainerOptions options;
  options.dropout_seed = 9;
  Trainer everything(plain, nullptr, options);
  options.activation_checkpointing = true;
  Trainer inputs(same, nullptr, options);
  for (int step = 0; step < 2; ++step) {
    const StepMetrics a = everything.step(sft_batch(rows, mask), {}),
                      b = inputs.step(sft_batch(rows, mask), {});
    CHECK(a.at("loss") == b.at("loss"));
    CHECK(a.at("grad_norm") == b.at("grad_norm"));
  }
  CHECK(at::equal(plain->flat(), same->flat()));
}

TEST_CASE("actor and critic that run out of memory are updated together or not at all") {
  kernels::install_host_allocator();
  const auto actor = Model::create(large_config(), {.seed = 5});
  const auto critic = actor->clone(true);
  const TokenRows rows({150, 150, 150, 150}, actor->config().vocab, 3);
  const auto mask = full_mask(rows);
  const std::vector<float> zeros(rows.tokens.size(), 0.0f), ones(rows.tokens.size(), 1.0f);
  TrainBatch batch{rows.view(), mask, {}, zeros, ones, {}, {}, {}, mask, zeros, ones};
  LossOptions loss = ppo_loss();
  Trainer trainer(actor, critic, {});
  const at::Tensor before = actor->flat().clone(), critic_before = critic->flat().clone();
  const auto gradients = static_cast<int64_t>(actor->flat().nbytes());
  // Room for the actor's pass, not for the critic's gradients beside it.
  kernels::set_host_memory_limit(current() + 2 * gradients - (1 << 20));
  const std::string code = code_of([&] { trainer.step(batch, loss); });
  kernels::set_host_memory_limit(0);
  CHECK(code == "OUT_OF_MEMORY");
  CHECK(at::equal(actor->flat(), before));
  CHECK(at::equal(critic->flat(), critic_before));
  CHECK(trainer.step_count() == 0);
  trainer.step(batch, loss);
  CHECK(!at::equal(actor->flat(), before));
  CHECK(!at::equal(critic->flat(), critic_before));
}

TEST_CASE("log-probs and their gradients take less than an eighth of the logits") {
  kernels::install_host_allocator();
  const int64_t vocab = 151936, tokens = 1024, width = 64;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor hidden = at::randn({tokens, width}).to(dtype),
                     weight = at::randn({vocab, width}).to(dtype);
    const at::Tensor targets = at::randint(vocab, {tokens}, at::kLong);
    const at::Tensor grad_weight = at::zeros({vocab, width}), grad = at::full({tokens}, 1.0 / tokens);
    const int64_t full = tokens * vocab * 4;
    CHECK(peak_of([&] {
            const auto scores = kernels::token_log_probs(hidden, weight, targets, 1.0, true);
            kernels::token_log_probs_backward(hidden, weight, targets, 1.0, scores, grad, grad, grad_weight);
          }) < full / 8);
  }
}

TEST_CASE("attention by ATen takes what is planned with, whole and some queries at a time") {
  kernels::install_host_allocator();
  const kernels::HeadShape shape{8, 2, 32, 0.2f};
  const int64_t lengths[][2] = {{400, 400}, {3000, 3000}, {300, 6000}, {2048, 5000}};
  for (const auto& [queries, length] : lengths) {
    CAPTURE(queries);
    CAPTURE(length);
    const at::Tensor heads = at::randn({length, 12, 32}).transpose(0, 1);
    const kernels::SequenceHeads sequence{heads.narrow(0, 0, 8).narrow(1, length - queries, queries),
                                          heads.narrow(0, 8, 2), heads.narrow(0, 10, 2)};
    const at::Tensor grad = at::randn({queries, 8, 32}).transpose(0, 1);
    const auto ratio = [&](bool gradient, const std::function<void()>& work) {
      const int64_t planned = kernels::aten_attention_bytes(shape, queries, length, gradient);
      return static_cast<double>(planned) / static_cast<double>(peak_of(work));
    };
    CHECK(ratio(false, [&] { kernels::aten_attention(sequence, shape.scale); }) ==
          doctest::Approx(1).epsilon(0.05));
    CHECK(ratio(true, [&] { kernels::aten_attention_backward(grad, sequence, shape.scale); }) ==
          doctest::Approx(1).epsilon(0.05));
  }
}

TEST_CASE("a step that runs out of memory goes on in smaller micro-batches, and says so") {
  kernels::install_host_allocator();
  const auto config = large_config();
  const auto model = Model::create(config, {.seed = 5});
  const auto same = model->clone(false);
  const TokenRows rows({150, 150, 150, 150}, config.vocab, 3);
  const auto mask = full_mask(rows);
  const auto batch = sft_batch(rows, mask);

  TrainerOptions halves;
  halves.micro_batch_tokens = 298;
  Trainer expected(same, nullptr, halves);
  const StepMetrics wanted = expected.step(batch, {});
  CHECK(!wanted.contains("micro_batch_tokens"));

  Trainer trainer(model, nullptr, {});
  const at::Tensor before = model->flat().clone();
  const int64_t whole = peak_of([&] {
                          const auto scratch = model->clone(false);
                          Trainer other(scratch, nullptr, {});
                          other.step(batch, {});
                        }) -
                        static_cast<int64_t>(model->flat().nbytes()) * 3;
  kernels::set_host_memory_limit(current() + whole - (1 << 20));
  const StepMetrics got = trainer.step(batch, {});
  kernels::set_host_memory_limit(0);
  CHECK(got.at("micro_batch_tokens") == 298);
  CHECK(got.at("loss") == doctest::Approx(wanted.at("loss")).epsilon(1e-12));
  CHECK(at::equal(model->flat(), same->flat()));
  CHECK(trainer.step_count() == 1);

  // No step fits into this: nothing has changed.
  const at::Tensor after = model->flat().clone();
  kernels::set_host_memory_limit(current() + (1 << 22));
  std::string code, hint;
  try {
    trainer.step(batch, {});
  } catch (const Error& error) {
    code = error.code;
    hint = error.hint;
  }
  kernels::set_host_memory_limit(0);
  CHECK(code == "OUT_OF_MEMORY");
  CHECK(hint.find("activationCheckpointing") != std::string::npos);
  CHECK(at::equal(model->flat(), after));
  CHECK(trainer.step_count() == 1);
  trainer.step(batch, {});
  CHECK(trainer.step_count() == 2);
}

TEST_CASE("scoring that runs out of memory goes on in smaller parts") {
  kernels::install_host_allocator();
  const auto model = Model::create(large_config(), {.seed = 5});
  const TokenRows rows({400, 400, 400, 400}, model->config().vocab, 3);
  Scores expected;
  const int64_t whole = peak_of([&] { expected = model->score(rows.view(), {}); });
  kernels::set_host_memory_limit(current() + whole - (1 << 20));
  const Scores got = model->score(rows.view(), {});
  kernels::set_host_memory_limit(0);
  REQUIRE(got.log_probs.size() == expected.log_probs.size());
  for (size_t i = 0; i < got.log_probs.size(); ++i) {
    CHECK(got.log_probs[i] == doctest::Approx(expected.log_probs[i]).epsilon(1e-5));
  }
}

TEST_CASE("loading, saving and creating need no second copy of the weights") {
  kernels::install_host_allocator();
  const auto config = large_config();
  std::shared_ptr<Model> model;
  const int64_t made = peak_of([&] { model = Model::create(config, {.dtype = at::kBFloat16, .seed = 5}); });
  const auto weights = static_cast<int64_t>(model->flat().nbytes());
  CHECK(made < weights + (int64_t{1} << 25));
  Trainer trainer(model, nullptr, {});
  CHECK(peak_of([&] { trainer.export_state(); }) < 100'000);
}
