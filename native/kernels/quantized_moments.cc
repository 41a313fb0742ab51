#include "kernels/quantized_moments.h"

#include <algorithm>
#include <cmath>

#include "kernels/dispatch.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

using Map = std::array<float, 256>;

// Elements that the ATen path widens at a time; whole blocks.
constexpr int64_t piece_elements = moment_block << 14;

/// As create_dynamic_map of bitsandbytes: each decimal exponent has twice the fractions of the one below.
Map make_map(bool is_signed) {
  std::vector<double> values = {0.0, 1.0};
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int fractions = (is_signed ? 1 : 2) << exponent;
    const double scale = std::pow(10.0, exponent - 6), width = 0.9 / fractions;
    for (int i = 0; i < fractions; ++i) {
      const double middle = scale * (0.1 + width * (i + 0.5));
      values.push_back(middle);
      if (is_signed) values.push_back(-middle);
    }
  }
  std::sort(values.begin(), values.end());
  Map map;
  std::copy(values.begin(), values.end(), map.begin());
  return map;
}

/// The middles between neighbours of a map: code c is nearest between middles[c - 1] and middles[c]. The last
/// is above every value.
Map make_middles(bool is_signed) {
  const Map& map = dynamic_map(is_signed);
  Map middles;
  for (size_t i = 0; i + 1 < map.size(); ++i) middles[i] = 0.5f * (map[i] + map[i + 1]);
  middles.back() = INFINITY;
  // Above zero is not zero.
  if (!is_signed) middles.front() = 0.0f;
  return middles;
}

const Map& middles_of(bool is_signed) {
  static const Map with_sign = make_middles(true), without = make_middles(false);
  return is_signed ? with_sign : without;
}

/// The number of middles below x, without branches.
uint8_t code_of(float x, const Map& middles) {
  const float* at = middles.data();
  for (int step = 128; step > 0; step /= 2) at += at[step - 1] < x ? step : 0;
  return static_cast<uint8_t>(at - middles.data());
}

void widen_block(const uint8_t* codes, float scale, const Map& map, float* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = map[codes[i]] * scale;
}

void quantize_block(const float* values, const Map& middles, uint8_t* codes, float* scale, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(values[i]));
  *scale = largest;
  const float divisor = largest > 0 ? largest : 1.0f;
  for (int64_t i = 0; i < n; ++i) codes[i] = code_of(values[i] / divisor, middles);
}

at::Tensor on_device(const Map& values, at::Device device) {
  return at::from_blob(const_cast<float*>(values.data()), {256}, at::kFloat).to(device);
}

/// [n] as [blocks, moment_block]; the last one filled up with zeros.
at::Tensor blocks_of(const at::Tensor& values) {
  const int64_t missing = (moment_block - values.numel() % moment_block) % moment_block;
  return at::constant_pad_nd(values, {0, missing}).view({-1, moment_block});
}

struct Piece {
  int64_t begin, count, first_block, blocks;
};

template <typename Body>
void for_pieces(int64_t n, const Body& body) {
  for (int64_t begin = 0; begin < n; begin += piece_elements) {
    const int64_t count = std::min(piece_elements, n - begin);
    body(Piece{begin, count, begin / moment_block, (count + moment_block - 1) / moment_block});
  }
}

QuantizedMoment piece_of(const QuantizedMoment& moment, const Piece& piece) {
  return {moment.codes.narrow(0, piece.begin, piece.count),
          moment.scales.narrow(0, piece.first_block, piece.blocks)};
}

at::Tensor widen(const QuantizedMoment& moment, bool is_signed) {
  const at::Tensor map = on_device(dynamic_map(is_signed), moment.codes.device());
  const at::Tensor values = map.index_select(0, moment.codes.to(at::kInt));
  return (blocks_of(values) * moment.scales.unsqueeze(1)).view({-1}).narrow(0, 0, values.numel());
}

void narrow_(const QuantizedMoment& moment, const at::Tensor& values, bool is_signed) {
  const at::Tensor blocks = blocks_of(values);
  const at::Tensor scales = blocks.abs().amax(1);
  const at::Tensor divisors = scales.masked_fill(scales == 0, 1.0).unsqueeze(1);
  const at::Tensor middles = on_device(middles_of(is_signed), values.device()).narrow(0, 0, 255);
  const at::Tensor codes = at::bucketize(blocks / divisors, middles, /*out_int32=*/true);
  moment.codes.copy_(codes.view({-1}).narrow(0, 0, values.numel()));
  moment.scales.copy_(scales);
}

void aten_update(const QuantizedAdamWBuffers& b, const AdamWParameters& parameters) {
  for_pieces(b.parameter.numel(), [&](const Piece& piece) {
    const auto part = [&](const at::Tensor& x) {
      return x.defined() ? x.narrow(0, piece.begin, piece.count) : x;
    };
    const auto first = piece_of(b.first_moment, piece), second = piece_of(b.second_moment, piece);
    const at::Tensor m = widen(first, true), v = widen(second, false);
    adamw_({{part(b.parameter), part(b.gradient), m, v, part(b.master)}}, parameters);
    narrow_(first, m, true);
    narrow_(second, v, false);
  });
}

void cpu_update(const QuantizedAdamWBuffers& b, const cpu::AdamWScalars& scalars) {
  const int64_t n = b.parameter.numel(), blocks = (n + moment_block - 1) / moment_block;
  const Map &signed_map = dynamic_map(true), &unsigned_map = dynamic_map(false);
  const Map &signed_middles = middles_of(true), &unsigned_middles = middles_of(false);
  float* target = (b.master.defined() ? b.master : b.parameter).mutable_data_ptr<float>();
  auto* rounded = b.master.defined() ? static_cast<cpu::Bf16*>(b.parameter.data_ptr()) : nullptr;
  const float* gradient = b.gradient.const_data_ptr<float>();
  auto* m_codes = b.first_moment.codes.mutable_data_ptr<uint8_t>();
  auto* v_codes = b.second_moment.codes.mutable_data_ptr<uint8_t>();
  auto* m_scales = b.first_moment.scales.mutable_data_ptr<float>();
  auto* v_scales = b.second_moment.scales.mutable_data_ptr<float>();
  parallel_rows(blocks, moment_block * 32, [&](int64_t begin, int64_t end) {
    alignas(64) float m[moment_block], v[moment_block];
    for (int64_t block = begin; block < end; ++block) {
      const int64_t at = block * moment_block, count = std::min(moment_block, n - at);
      widen_block(m_codes + at, m_scales[block], signed_map, m, count);
      widen_block(v_codes + at, v_scales[block], unsigned_map, v, count);
      cpu::table().adamw(target + at, gradient + at, m, v, rounded ? rounded + at : nullptr, scalars, count);
      quantize_block(m, signed_middles, m_codes + at, m_scales + block, count);
      quantize_block(v, unsigned_middles, v_codes + at, v_scales + block, count);
    }
  });
}

}  // namespace

const std::array<float, 256>& dynamic_map(bool is_signed) {
  static const Map with_sign = make_map(true), without = make_map(false);
  return is_signed ? with_sign : without;
}

QuantizedMoment zero_moment(int64_t n, bool is_signed, at::Device device) {
  const Map& map = dynamic_map(is_signed);
  const auto zero = std::find(map.begin(), map.end(), 0.0f) - map.begin();
  return {at::full({n}, zero, at::TensorOptions().dtype(at::kByte).device(device)),
          at::zeros({(n + moment_block - 1) / moment_block}, at::TensorOptions().device(device))};
}

at::Tensor dequantize(const QuantizedMoment& moment, bool is_signed) { return widen(moment, is_signed); }

void quantize_(const QuantizedMoment& moment, const at::Tensor& values, bool is_signed) {
  narrow_(moment, values, is_signed);
}

void quantized_adamw_(const std::vector<QuantizedAdamWBuffers>& buffers, const AdamWParameters& parameters) {
  for (const QuantizedAdamWBuffers& b : buffers) {
    if (path_of(b.parameter) == Path::cpu) {
      cpu_update(b, adamw_scalars(parameters));
    } else {
      aten_update(b, parameters);
    }
  }
}

}  // namespace spa::kernels
