#include "engine/sampler.h"

#include <cmath>

#include "engine/error.h"

namespace spa {

void SamplingOptions::validate() const {
  if (!(temperature >= 0) || !std::isfinite(temperature)) {
    throw Error("BAD_ARGUMENT", "temperature must be 0 (greedy) or above");
  }
  if (top_k < 0) throw Error("BAD_ARGUMENT", "topK must not be negative");
  if (!(top_p > 0 && top_p <= 1)) throw Error("BAD_ARGUMENT", "topP must be in (0, 1]");
}

}  // namespace spa
