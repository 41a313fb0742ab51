#include "engine/weights.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <numbers>
#include <unordered_map>

#include "engine/error.h"
#include "kernels/philox.h"

namespace spa {
namespace {

constexpr int64_t alignment = 32;  // elements: 64 bytes of bfloat16
// Elements that are made or looked at together where that needs memory of its own.
constexpr int64_t piece_elements = int64_t{1} << 22;

int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

/// q, k and v (gate and up; their biases) follow each other without a gap, so that they are one matrix.
bool continues_group(const std::string& name) {
  if (name.find(".lora_") != std::string::npos) return false;
  for (const char* part : {".k_proj.", ".v_proj.", ".up_proj."}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
         text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

/// A file mapped for reading; unmapped when the last tensor on it is gone.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (file < 0 || ::fstat(file, &status) != 0) {
      const std::string reason = std::strerror(errno);
      if (file >= 0) ::close(file);
      throw Error("BAD_CHECKPOINT", "cannot open " + path + ": " + reason);
    }
    size_ = static_cast<size_t>(status.st_size);
    if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    ::close(file);
    if (data_ == MAP_FAILED)
      throw Error("BAD_CHECKPOINT", "cannot map " + path + ": " + std::strerror(errno));
  }
  ~MappedFile() {
    if (data_ != nullptr && data_ != MAP_FAILED) ::munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const char* data() const { return static_cast<const char*>(data_); }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

at::ScalarType scalar_type(const TensorEntry& entry) {
  if (entry.dtype == "F32") return at::kFloat;
  if (entry.dtype == "BF16") return at::kBFloat16;
  if (entry.dtype == "F16") return at::kHalf;
  if (entry.dtype == "F64") return at::kDouble;
  require(entry.dtype == "U8", "a tensor's type is one that is read");
  return at::kByte;
}

at::Tensor view_of(const TensorEntry& entry, const std::shared_ptr<MappedFile>& file) {
  const at::ScalarType type = scalar_type(entry);
  const auto bytes = static_cast<uint64_t>(count_of(entry.shape)) * c10::elementSize(type);
  require(entry.begin <= entry.end && entry.end - entry.begin == bytes, "a tensor's range is of its size");
  if (entry.end > file->size()) {
    throw Error("BAD_CHECKPOINT", entry.file + " is cut off: tensor " + entry.name + " ends at byte " +
                                      std::to_string(entry.end) + ", the file at " +
                                      std::to_string(file->size()));
  }
  const char* source = file->data() + entry.begin;
  if (reinterpret_cast<uintptr_t>(source) % c10::elementSize(type) != 0) {
    at::Tensor copy = at::empty(entry.shape, type);
    std::memcpy(copy.data_ptr(), source, bytes);
    return copy;
  }
  return at::from_blob(
      const_cast<char*>(source), entry.shape, [file](void*) {}, at::TensorOptions().dtype(type));
}

/// Writes a file and makes sure that it is on the disk; removed again unless finish() was reached.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path) : path_(path) {
    file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file_ < 0) fail("open");
  }
  ~FileWriter() {
    if (file_ >= 0) {
      ::close(file_);
      ::unlink(path_.c_str());
    }
  }
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const char* data, size_t size) {
    while (size > 0) {
      const ssize_t written = ::write(file_, data, std::min(size, size_t{1} << 26));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("write");
      data += written;
      size -= static_cast<size_t>(written);
    }
  }

  void finish() {
    if (::fsync(file_) != 0) fail("sync");
    const int file = std::exchange(file_, -1);
    if (::close(file) != 0) {
      ::unlink(path_.c_str());
      fail("close");
    }
  }

 private:
  [[noreturn]] void fail(const char* verb) {
    const bool full = errno == ENOSPC || errno == EDQUOT;
    throw Error(full ? "DISK_FULL" : "BAD_CHECKPOINT",
                std::string("cannot ") + verb + " " + path_ + ": " + std::strerror(errno),
                full ? "free some space and save again; what was there before is untouched" : "");
  }

  std::string path_;
  int file_ = -1;
};

}  // namespace

std::vector<NamedTensor> read_tensors(const std::vector<TensorEntry>& entries, const LongCall& call) {
  std::unordered_map<std::string, std::shared_ptr<MappedFile>> files;
  std::vector<NamedTensor> tensors;
  tensors.reserve(entries.size());
  for (const TensorEntry& entry : entries) {
    call.check();
    auto& file = files[entry.file];
    if (!file) file = std::make_shared<MappedFile>(entry.file);
    tensors.push_back({entry.name, view_of(entry, file)});
  }
  return tensors;
}

void write_tensors(const std::string& path, const std::string& header,
                   const std::vector<NamedTensor>& tensors, const LongCall& call) {
  int64_t total = 0, done = 0;
  for (const NamedTensor& entry : tensors) total += static_cast<int64_t>(entry.tensor.nbytes());
  FileWriter file(path);
  file.write(header.data(), header.size());
  for (const NamedTensor& entry : tensors) {
    call.check();
    const at::Tensor tensor = entry.tensor.contiguous().cpu();
    file.write(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
    done += static_cast<int64_t>(tensor.nbytes());
    call.report(done, total);
  }
  file.finish();
}

ParameterLayout::ParameterLayout(const ModelConfig& config, bool value_head)
    : config_(config), value_head_(value_head) {
  place(parameter_specs(config, value_head));
}

ParameterLayout::ParameterLayout(const ModelConfig& config, const AdapterConfig& adapter, bool value_head)
    : config_(config), adapter_(adapter), value_head_(value_head) {
  place(adapter_specs(config, adapter, value_head));
}

void ParameterLayout::place(const std::vector<ParameterSpec>& specs) {
  for (const ParameterSpec& spec : specs) {
    if (!continues_group(spec.name)) size_ = (size_ + alignment - 1) / alignment * alignment;
    if (spec.name == "value_head.weight") backbone_size_ = size_;
    const int64_t count = count_of(spec.shape);
    slots_.push_back({spec.name, spec.shape, size_, count});
    size_ += count;
    parameter_count_ += count;
  }
  size_ = (size_ + alignment - 1) / alignment * alignment;
  if (!value_head_) backbone_size_ = size_;
}

DecoderWeights ParameterLayout::adapter_views(const at::Tensor& flat) const {
  const auto tensors = named(flat);
  DecoderWeights weights;
  weights.layers.resize(config_.layers);
  size_t next = 0;
  for (LayerWeights& layer : weights.layers) {
    for (int64_t target = 0; target < target_count; ++target) {
      if (!adapter_->targets[target]) continue;
      layer.adapter[target] = {tensors[next].tensor, tensors[next + 1].tensor};
      next += 2;
    }
  }
  if (value_head_) {
    weights.value_weight = tensors[next].tensor;
    weights.value_bias = tensors[next + 1].tensor;
  }
  return weights;
}

DecoderWeights ParameterLayout::views(const at::Tensor& flat) const {
  if (adapter_) return adapter_views(flat);
  const ModelConfig& c = config_;
  size_t next = 0;
  // The next `parts` slots of the layout as one tensor.
  const auto take = [&](std::vector<int64_t> shape, size_t parts = 1) {
    const int64_t offset = slots_[next].offset;
    next += parts;
    return flat.narrow(0, offset, count_of(shape)).view(shape);
  };
  DecoderWeights weights;
  weights.embedding = take({c.vocab, c.hidden});
  for (int64_t i = 0; i < c.layers; ++i) {
    LayerWeights w;
    w.input_norm = take({c.hidden});
    w.qkv = take({c.qkv_size(), c.hidden}, 3);
    if (c.qkv_bias) w.qkv_bias = take({c.qkv_size()}, 3);
    if (c.qk_norm) {
      w.q_norm = take({c.head_dim});
      w.k_norm = take({c.head_dim});
    }
    w.output = take({c.hidden, c.query_size()});
    if (c.o_bias) w.output_bias = take({c.hidden});
    w.post_norm = take({c.hidden});
    w.gate_up = take({2 * c.intermediate, c.hidden}, 2);
    if (c.mlp_bias) w.gate_up_bias = take({2 * c.intermediate}, 2);
    w.down = take({c.hidden, c.intermediate});
    if (c.mlp_bias) w.down_bias = take({c.hidden});
    weights.layers.push_back(std::move(w));
  }
  weights.final_norm = take({c.hidden});
  weights.head = c.tied ? weights.embedding : take({c.vocab, c.hidden});
  if (value_head_) {
    weights.value_weight = take({1, c.hidden});
    weights.value_bias = take({1});
  }
  return weights;
}

std::vector<NamedTensor> ParameterLayout::named(const at::Tensor& flat, const std::string& prefix) const {
  std::vector<NamedTensor> tensors;
  for (const ParameterSlot& slot : slots_) {
    tensors.push_back({prefix + slot.name, flat.narrow(0, slot.offset, slot.numel).view(slot.shape)});
  }
  return tensors;
}

std::vector<ParameterRange> ParameterLayout::ranges_without_head() const {
  if (config_.tied || adapter_) return {{0, backbone_size_}};
  for (const ParameterSlot& slot : slots_) {
    if (slot.name == "lm_head.weight") return {{0, slot.offset}};
  }
  return {};
}

void initialize_weights(const ModelConfig& config, const ParameterLayout& layout,
                        Initialization initialization, uint64_t seed, const at::Tensor& flat) {
  const double residual_scale = 1.0 / std::sqrt(2.0 * static_cast<double>(config.layers));
  uint64_t index = 0;
  for (const ParameterSlot& slot : layout.slots()) {
    ++index;
    if (slot.name.find("value_head") == 0 || ends_with(slot.name, ".bias")) continue;
    const at::Tensor target = flat.narrow(0, slot.offset, slot.numel);
    if (slot.shape.size() == 1) {
      target.fill_(1.0);
      continue;
    }
    double deviation = 0.02;
    if (initialization == Initialization::nano) {
      const bool embedding = slot.name == "model.embed_tokens.weight";
      deviation = embedding ? 0.1 : 0.7 / std::sqrt(static_cast<double>(slot.shape[1]));
      if (ends_with(slot.name, "o_proj.weight") || ends_with(slot.name, "down_proj.weight"))
        deviation *= residual_scale;
    }
    for (int64_t begin = 0; begin < slot.numel; begin += piece_elements) {
      const int64_t count = std::min(piece_elements, slot.numel - begin);
      const at::Tensor piece = at::empty({count}, at::kFloat);
      auto* values = piece.data_ptr<float>();
      // Box-Muller on the counter-based generator: two normals from two words.
      for (int64_t k = 0; k < count; k += 2) {
        const auto block = kernels::philox4x32(seed, static_cast<uint64_t>((begin + k) / 2), index);
        const double radius = std::sqrt(-2.0 * std::log((block.word[0] + 0.5) * 0x1p-32));
        const double angle = 2.0 * std::numbers::pi * (block.word[1] * 0x1p-32);
        values[k] = static_cast<float>(deviation * radius * std::cos(angle));
        if (k + 1 < count) values[k + 1] = static_cast<float>(deviation * radius * std::sin(angle));
      }
      target.narrow(0, begin, count).copy_(piece);
    }
  }
}

bool all_finite(const at::Tensor& tensor) {
  if (!at::isFloatingType(tensor.scalar_type())) return true;
  const at::Tensor flat = tensor.reshape({-1});
  for (int64_t begin = 0; begin < flat.numel(); begin += piece_elements) {
    const at::Tensor piece = flat.narrow(0, begin, std::min(piece_elements, flat.numel() - begin));
    if (!at::isfinite(piece).all().item<bool>()) return false;
  }
  return true;
}

at::Tensor initial_adapter(const ParameterLayout& layout, uint64_t seed) {
  const at::Tensor flat = at::zeros({layout.size()}, at::kFloat);
  uint64_t index = 0;
  for (const ParameterSlot& slot : layout.slots()) {
    ++index;
    if (!ends_with(slot.name, ".lora_A.weight")) continue;
    const auto bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(slot.shape[1])));
    float* values = flat.mutable_data_ptr<float>() + slot.offset;
    for (int64_t k = 0; k < slot.numel; ++k) {
      values[k] = bound * (2.0f * kernels::philox_uniform(seed, index, static_cast<uint64_t>(k)) - 1.0f);
    }
  }
  return flat;
}

namespace {

/// A stored head must be the embedding that it is tied to: transformers computes with both where they differ.
void check_tied_head(const at::Tensor& embedding, const at::Tensor& head) {
  const int64_t rows = std::max<int64_t>(1, piece_elements / std::max<int64_t>(1, embedding.size(1)));
  bool same = head.sizes() == embedding.sizes();
  for (int64_t begin = 0; same && begin < embedding.size(0); begin += rows) {
    const int64_t count = std::min(rows, embedding.size(0) - begin);
    const at::Tensor piece = embedding.narrow(0, begin, count);
    same = at::equal(piece, head.narrow(0, begin, count).to(piece.options()));
  }
  if (same) return;
  throw Error("BAD_CHECKPOINT",
              "tensor lm_head.weight differs from model.embed_tokens.weight, but the configuration ties them "
              "(tie_word_embeddings)");
}

}  // namespace

void fill_weights(const ParameterLayout& layout, const at::Tensor& flat,
                  const std::vector<NamedTensor>& tensors, const LongCall& call) {
  std::unordered_map<std::string, at::Tensor> targets;
  for (auto& entry : layout.named(flat)) targets.emplace(entry.name, entry.tensor);
  int64_t done = 0;
  for (const NamedTensor& entry : tensors) {
    call.check();
    const auto found = targets.find(entry.name);
    if (found == targets.end()) {
      // A tied head may be stored beside the embedding, which comes first in a layout.
      require(entry.name == "lm_head.weight", "a tensor has a place in the model");
      check_tied_head(layout.named(flat).front().tensor, entry.tensor);
      continue;
    }
    require(entry.tensor.sizes() == found->second.sizes(), "a tensor has the shape of its place");
    found->second.copy_(entry.tensor);
    if (!all_finite(found->second)) {
      throw Error("BAD_CHECKPOINT", "tensor " + entry.name + " holds NaN or infinite values");
    }
    targets.erase(found);
    call.report(++done, static_cast<int64_t>(tensors.size()));
  }
  require(std::all_of(targets.begin(), targets.end(),
                      [](const auto& left) { return left.first.starts_with("value_head"); }),
          "each place has its tensor");
}

}  // namespace spa
