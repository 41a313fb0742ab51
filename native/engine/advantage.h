// Advantages over ragged arrays: generalised advantage estimation, its bi-level form for turns, whitening.
//
// Arrays are packed: row i is [offsets[i], offsets[i + 1]). Masks are 0 or 1 per token. Inputs and outputs
// are float32, sums run in double.
#pragma once

#include <cstdint>
#include <span>

namespace spa {

struct AdvantageInput {
  std::span<const float> rewards;     // [tokens]; counts only where mask is 1
  std::span<const float> values;      // [tokens]
  std::span<const uint8_t> mask;      // [tokens]; tokens outside it take no part in the recursion
  std::span<const uint32_t> offsets;  // [rows + 1]
};

struct AdvantageOutput {
  std::span<float> advantages;  // [tokens], not whitened
  std::span<float> returns;     // [tokens]
};

/// GAE (Schulman et al. 2016, arXiv:1506.02438) over masked tokens only: delta_t = r_t + gamma V_next - V_t
/// with the next masked token of the row (0 after the last), A_t = delta_t + gamma lambda A_next, returns = A
/// + V. Both are 0 outside the mask.
void gae(const AdvantageInput& input, double gamma, double lambda, const AdvantageOutput& output);

/// Bi-level GAE (RAGEN, compute_bi_level_gae_advantage_return; VAGEN, arXiv:2510.16907) with explicit turn
/// ends, so that a turn with zero reward is a turn. High level, over turn ends: delta = r + high_level_gamma
/// V_next - V, A = delta + high_level_gamma lambda A_next; the turn's high-level return A + V takes the place
/// of the reward at its last token. Low level, over masked tokens, starting afresh at each turn end (next
/// value and next advantage 0): as `gae`. turn_ends: ascending positions in the packed array; each must be
/// masked. Masked tokens after a row's last turn end are a turn of their own whose reward stays as it is.
/// Rewards count at turn ends and, on the low level, wherever mask is 1. Outputs are 0 outside the mask.
void bi_level_gae(const AdvantageInput& input, std::span<const uint32_t> turn_ends, double gamma,
                  double lambda, double high_level_gamma, const AdvantageOutput& output);

/// (x - mean) / sqrt(var + 1e-8) over the mask, var with Bessel's correction; 0 outside the mask. With fewer
/// than two masked tokens only centred.
void whiten(std::span<const float> values, std::span<const uint8_t> mask, std::span<float> output);

}  // namespace spa
