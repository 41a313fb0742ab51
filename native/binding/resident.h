// Objects that live on an engine's thread, and the handles through which JavaScript's wrappers reach them.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"

namespace spa::binding {

/// Freed together with what depends on it. All members belong to the engine's thread.
class ResidentBase {
 public:
  virtual ~ResidentBase() = default;

  /// Frees the object after those that need it.
  void dispose() {
    for (const auto& dependent : dependents_) {
      if (const auto alive = dependent.lock()) alive->dispose();
    }
    dependents_.clear();
    free();
  }

  void add_dependent(std::weak_ptr<ResidentBase> dependent) {
    std::erase_if(dependents_, [](const auto& other) { return other.expired(); });
    dependents_.push_back(std::move(dependent));
  }

 protected:
  virtual void free() = 0;

 private:
  std::vector<std::weak_ptr<ResidentBase>> dependents_;
};

template <class T>
class Resident : public ResidentBase {
 public:
  /// `name` is for messages, e.g. "model".
  explicit Resident(std::string name) : name_(std::move(name)) {}

  void set(std::shared_ptr<T> object) { object_ = std::move(object); }
  /// From now on get() throws this.
  void fail(std::exception_ptr failure) { failure_ = std::move(failure); }

  /// Throws DISPOSED, or why the object could not be made.
  const std::shared_ptr<T>& get() const {
    if (failure_) std::rethrow_exception(failure_);
    if (!object_) throw Error("DISPOSED", "the " + name_ + " was disposed");
    return object_;
  }

 protected:
  void free() override { object_.reset(); }

 private:
  std::string name_;
  std::shared_ptr<T> object_;
  std::exception_ptr failure_;
};

}  // namespace spa::binding
