#include "proof.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "fiber.h"
#include "kernels/cuda/launch.h"
#include "schedule.h"
#include "third_party/doctest.h"

namespace spa::kernels::cuda {

void throw_launch_error(cudaError_t error, const std::source_location& place) {
  throw cuda_on_cpu::LaunchError(std::string(cudaGetErrorString(error)) + " (launched at " +
                                 cuda_on_cpu::Site(place).text() + ")");
}

}  // namespace spa::kernels::cuda

namespace cuda_on_cpu {
namespace {

constexpr unsigned char nan_bytes = 0xff, large_bytes = 0x7e;
constexpr uint64_t schedules = 6, schedules_without = 40;

/// Schedule 0 is the plain one; odd ones have another poison.
Schedule numbered(uint64_t seed) { return {seed, seed % 2 == 0 ? nan_bytes : large_bytes}; }

bool same_bits(const std::vector<Numbers>& a, const std::vector<Numbers>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    if (!a[i].empty() && std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(double)) != 0)
      return false;
  }
  return true;
}

/// Runs by a schedule, and goes back to the plain one whatever happens.
std::vector<Numbers> run_by(const Schedule& schedule, const Run& run) {
  struct Reset {
    ~Reset() { use({}); }
  } const reset;
  use(schedule);
  return run();
}

bool differs_without(const Site& site, const Run& run) {
  const std::vector<Numbers> expected = run_by(numbered(0), run);
  for (uint64_t seed = 1; seed <= schedules_without; ++seed) {
    Schedule schedule = numbered(seed);
    schedule.without = site;
    try {
      if (!same_bits(run_by(schedule, run), expected)) return true;
    } catch (const LaunchError&) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool is_determined(const Run& run) {
  const std::vector<Numbers> expected = run_by(numbered(0), run);
  for (uint64_t seed = 1; seed < schedules; ++seed) {
    if (!same_bits(run_by(numbered(seed), run), expected)) return false;
  }
  return true;
}

std::vector<Numbers> prove(const Run& run) {
  CHECK(is_determined(run));
  return run_by(numbered(0), run);
}

void prove_barriers(const std::string& file, const std::vector<Run>& runs) {
  // What a kernel does without its barriers may be anything, which here would end the process.
  if (has_address_sanitizer) return;
  std::map<Site, std::vector<Run>> runs_by_site;
  take_barriers();
  for (const Run& run : runs) {
    run_by(numbered(0), run);
    for (const Site& site : take_barriers()) {
      if (site.file == file) runs_by_site[site].push_back(run);
    }
  }
  CHECK_FALSE(runs_by_site.empty());
  for (const auto& [site, own] : runs_by_site) {
    const bool is_needed =
        std::any_of(own.begin(), own.end(), [&](const Run& run) { return differs_without(site, run); });
    CHECK_MESSAGE(is_needed, site.text(), ": nothing changes without this barrier");
  }
}

}  // namespace cuda_on_cpu
