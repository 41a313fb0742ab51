// Sessions: cached decoding against packed scoring, forks, sampling, limits.
#include <cmath>
#include <numeric>

#include "code_of.h"
#include "doctest_torch.h"
#include "engine/session.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

namespace {

GenerateRequest request_for(std::vector<int32_t> slots, int32_t count, double temperature = 1.0) {
  GenerateRequest request;
  request.max_new_tokens.assign(slots.size(), count);
  request.slots = std::move(slots);
  request.sampling.temperature = temperature;
  return request;
}

std::vector<int32_t> row_of(const GenerateResult& result, size_t i) {
  return {result.tokens.begin() + result.offsets[i], result.tokens.begin() + result.offsets[i + 1]};
}

std::vector<int32_t> numbers(int32_t count) {
  std::vector<int32_t> slots(count);
  std::iota(slots.begin(), slots.end(), 0);
  return slots;
}

/// Log-probs of the sampled tokens, taken by scoring the whole sequence.
void check_scores(const std::shared_ptr<Model>& model, std::vector<int32_t> sequence,
                  const GenerateResult& result, size_t i, double temperature = 1.0) {
  const size_t prompt = sequence.size();
  const auto sampled = row_of(result, i);
  sequence.insert(sequence.end(), sampled.begin(), sampled.end());
  const std::vector<uint32_t> offsets = {0, static_cast<uint32_t>(sequence.size())};
  ScoreOptions options;
  options.temperature = temperature;
  const auto scores = model->score({sequence, offsets}, options).log_probs;
  for (size_t k = 0; k < sampled.size(); ++k) {
    REQUIRE(std::abs(scores[prompt + k] - result.log_probs[result.offsets[i] + k]) < 1e-4);
  }
}

}  // namespace

TEST_CASE("log-probs taken while sampling are those of packed scoring, over several turns") {
  for (const ModelConfig& config : {qwen2_config(), llama_config(), qwen3_config()}) {
    const auto model = random_model(config);
    const TokenRows prompts({20, 1, 33, 64}, config.vocab), more({3, 40, 1, 7}, config.vocab, 9);
    Session session(model, 4, 200, 5);
    session.extend(numbers(4), prompts.view());
    const auto first = session.generate(request_for(numbers(4), 20, 0.8));
    session.extend(numbers(4), more.view());
    const auto second = session.generate(request_for(numbers(4), 25));
    for (size_t i = 0; i < 4; ++i) {
      std::vector<int32_t> sequence(prompts.row(i).begin(), prompts.row(i).end());
      check_scores(model, sequence, first, i, 0.8);
      const auto sampled = row_of(first, i);
      sequence.insert(sequence.end(), sampled.begin(), sampled.end());
      sequence.insert(sequence.end(), more.row(i).begin(), more.row(i).end());
      check_scores(model, sequence, second, i);
      CHECK(session.length(static_cast<int64_t>(i)) ==
            static_cast<int64_t>(sequence.size() + row_of(second, i).size()));
    }
  }
}

TEST_CASE("samples depend on seed, stream and position only") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompts({12, 30, 5}, 37);
  Session together(model, 3, 100, 5);
  together.extend(numbers(3), prompts.view());
  auto request = request_for(numbers(3), 40);
  request.streams = {100, 200, 300};
  const auto all = together.generate(request);
  for (int32_t i = 0; i < 3; ++i) {
    Session alone(model, 2, 100, 5);
    const std::vector<uint32_t> offsets = {0, static_cast<uint32_t>(prompts.row(i).size())};
    alone.extend(std::vector<int32_t>{1}, {prompts.row(i), offsets});
    auto single = request_for({1}, 40);
    single.streams = {request.streams[i]};
    const auto result = alone.generate(single);
    CHECK(row_of(result, 0) == row_of(all, i));
    CHECK(
        std::equal(result.log_probs.begin(), result.log_probs.end(), all.log_probs.begin() + all.offsets[i]));
  }
  Session other(model, 3, 100, 6);
  other.extend(numbers(3), prompts.view());
  CHECK(other.generate(request).tokens != all.tokens);
}

TEST_CASE("forks share the prompt and then go their own ways") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompt({45}, 37);
  Session session(model, 6, 128, 5);
  session.extend(std::vector<int32_t>{0}, prompt.view());
  session.fork(0, std::vector<int32_t>{1, 2, 3});
  CHECK(session.length(3) == 45);
  auto request = request_for({0, 1, 2, 3}, 30);
  request.streams = {7, 7, 8, 9};
  const auto result = session.generate(request);
  CHECK(row_of(result, 0) == row_of(result, 1));
  CHECK(row_of(result, 0) != row_of(result, 2));
  for (size_t i = 0; i < 4; ++i) check_scores(model, prompt.tokens, result, i);
  // A fork of a fork, after its parent has gone.
  session.fork(2, std::vector<int32_t>{4});
  session.release(std::vector<int32_t>{2});
  auto sequence = prompt.tokens;
  const auto sampled = row_of(result, 2);
  sequence.insert(sequence.end(), sampled.begin(), sampled.end());
  check_scores(model, sequence, session.generate(request_for({4}, 20)), 0);
}

TEST_CASE("a fork of the first tokens is as if no others had come after them") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompt({45}, 37);
  Session session(model, 6, 128, 5);
  session.extend(std::vector<int32_t>{0}, prompt.view());
  session.generate(request_for({0}, 20));
  // A block holds 16 tokens: at an edge, behind it, before it, one token, and all.
  const std::vector<int64_t> lengths = {32, 33, 31, 1, 65};
  for (int32_t i = 0; i < 5; ++i) session.fork(0, std::vector<int32_t>{i + 1}, lengths[i]);
  const auto result = session.generate(request_for({1, 2, 3, 4}, 30));
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<int32_t> held(prompt.tokens.begin(), prompt.tokens.begin() + lengths[i]);
    check_scores(model, held, result, i);
  }
  CHECK(session.length(5) == 65);
  CHECK(session.length(0) == 65);
  session.release(std::vector<int32_t>{1});
  CHECK(code_of([&] { session.fork(0, std::vector<int32_t>{1}, 66); }) == "BAD_ARGUMENT");
  CHECK(code_of([&] { session.fork(0, std::vector<int32_t>{1}, 0); }) == "BAD_ARGUMENT");
}

TEST_CASE("greedy sampling takes the likeliest token") {
  const auto model = random_model(llama_config());
  const TokenRows prompt({10}, 37);
  Session session(model, 1, 64, 5);
  session.extend(numbers(1), prompt.view());
  const auto result = session.generate(request_for(numbers(1), 12, 0));
  const ReferenceDecoder reference(*model);
  auto sequence = prompt.tokens;
  for (size_t k = 0; k < result.tokens.size(); ++k) {
    const Row log_probs = reference.log_probs(reference.hidden(sequence).back());
    const auto best = std::max_element(log_probs.begin(), log_probs.end()) - log_probs.begin();
    REQUIRE(result.tokens[k] == best);
    REQUIRE(result.log_probs[k] == doctest::Approx(log_probs[best]).epsilon(1e-4));
    sequence.push_back(result.tokens[k]);
  }
}

TEST_CASE("top-k and top-p bound the choice, log-probs stay untruncated") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompt({10}, 37);
  for (const bool by_k : {true, false}) {
    Session session(model, 1, 128, 5);
    session.extend(numbers(1), prompt.view());
    auto request = request_for(numbers(1), 60, 1.0);
    if (by_k) {
      request.sampling.top_k = 1;
    } else {
      request.sampling.top_p = 1e-6;
    }
    const auto result = session.generate(request);
    check_scores(model, prompt.tokens, result, 0);
    Session greedy(model, 1, 128, 5);
    greedy.extend(numbers(1), prompt.view());
    CHECK(greedy.generate(request_for(numbers(1), 60, 0)).tokens == result.tokens);
  }
}

TEST_CASE("stop tokens, length limits and full slots end a row") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompts({10, 10, 48}, 37);
  Session session(model, 3, 50, 5);
  session.extend(numbers(3), prompts.view());
  auto request = request_for(numbers(3), 30);
  request.max_new_tokens = {30, 4, 30};
  const auto free_run = [&] {
    Session copy(model, 3, 50, 5);
    copy.extend(numbers(3), prompts.view());
    return copy.generate(request);
  }();
  request.stop_tokens = {row_of(free_run, 0)[5]};
  const auto result = session.generate(request);
  CHECK(result.finish[0] == Finish::stop);
  CHECK(row_of(result, 0).back() == request.stop_tokens[0]);
  CHECK(row_of(result, 0).size() <= 6);
  CHECK((result.finish[1] == Finish::length || result.finish[1] == Finish::stop));
  CHECK(result.finish[2] == Finish::context);
  CHECK(session.length(2) == 50);
  CHECK(code_of([&] { session.generate(request_for({2}, 1)); }) == "CAPACITY");
}

TEST_CASE("misuse is refused and changes nothing") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompts({10, 20}, 37);
  Session session(model, 2, 25, 5);
  const auto extend = [&](std::vector<int32_t> slots) {
    return code_of([&] { session.extend(slots, prompts.view()); });
  };
  const auto generate = [&](std::vector<int32_t> slots, int32_t limit) {
    return code_of([&] { session.generate(request_for(slots, limit)); });
  };
  CHECK(generate({0}, 3) == "BAD_ARGUMENT");
  CHECK(extend({0, 0}) == "INTERNAL");
  CHECK(extend({0, 2}) == "INTERNAL");
  CHECK(extend({0}) == "INTERNAL");
  CHECK(extend({0, 1}) == "");
  CHECK(extend({0, 1}) == "CAPACITY");
  CHECK(session.length(0) == 10);
  CHECK(code_of([&] { session.fork(0, std::vector<int32_t>{1}); }) == "BAD_ARGUMENT");
  CHECK(generate({2}, 3) == "INTERNAL");
  CHECK(generate({0}, 0) == "INTERNAL");
}

TEST_CASE("an aborted call leaves the slots as they were") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompts({10, 20}, 37);
  Session session(model, 2, 200, 5);
  std::atomic<bool> abort = true;
  LongCall call{&abort, {}};
  CHECK_THROWS_AS(session.extend(numbers(2), prompts.view(), call), Error);
  CHECK(session.length(1) == 0);
  session.extend(numbers(2), prompts.view());
  // Raised from the progress report in the middle of the call.
  abort = false;
  int reports = 0;
  call.progress = [&](int64_t, int64_t) { abort = ++reports == 2; };
  CHECK_THROWS_AS(session.generate(request_for(numbers(2), 150), call), Error);
  CHECK(session.length(0) == 10);
  const auto after = session.generate(request_for(numbers(2), 150));
  Session fresh(model, 2, 200, 5);
  fresh.extend(numbers(2), prompts.view());
  CHECK(fresh.generate(request_for(numbers(2), 150)).tokens == after.tokens);
}

TEST_CASE("a cache made with older weights is refused") {
  const auto model = random_model(qwen2_config());
  const TokenRows prompts({10, 20}, 37);
  Session session(model, 2, 200, 5);
  session.extend(numbers(2), prompts.view());
  model->mark_changed();
  CHECK(code_of([&] { session.generate(request_for(numbers(2), 1)); }) == "STALE_CACHE");
  session.release_all();
  session.extend(numbers(2), prompts.view());
  CHECK(session.generate(request_for(numbers(2), 1)).tokens.size() == 2);
}

TEST_CASE("cache blocks are shared, copied on write and given back") {
  const auto config = qwen2_config();
  KvCache cache(config, 8, 256, at::kFloat, at::kCPU);
  const int64_t block = KvCache::block_tokens;
  cache.grow(0, 2 * block + 3);
  CHECK(cache.blocks_in_use() == 3);
  cache.fork(0, 1);
  cache.fork(0, 2);
  CHECK(cache.blocks_in_use() == 3);
  cache.layer(0).select(0, cache.blocks(0).back()).fill_(4.0f);
  cache.grow(1, 2 * block + 4);
  CHECK(cache.blocks_in_use() == 4);
  CHECK(cache.blocks(1)[1] == cache.blocks(0)[1]);
  CHECK(cache.blocks(1)[2] != cache.blocks(0)[2]);
  CHECK(cache.layer(0).select(0, cache.blocks(1)[2]).min().item<float>() == 4.0f);
  for (int64_t slot = 0; slot < 3; ++slot) cache.truncate(slot, 0);
  CHECK(cache.blocks_in_use() == 0);
}
