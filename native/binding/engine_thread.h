// The thread of one engine: a queue of jobs, run one after the other, and the results' way to JavaScript.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "binding/errors.h"
#include "binding/resident.h"
#include "engine/long_call.h"

namespace spa::binding {

/// Members are called on the JavaScript thread unless they say otherwise.
///
/// Everything that belongs to JavaScript (promises, callbacks) stays in `pending_`, on its thread; jobs carry
/// plain data. One thread-safe function an engine carries "something has happened" to the event loop, and
/// keeps the process alive while jobs are pending. When the environment ends, a cleanup hook aborts the
/// running job and joins the thread.
class EngineThread : public std::enable_shared_from_this<EngineThread> {
 public:
  /// Makes the value that a promise resolves to. Called on the JavaScript thread.
  using Deliver = std::function<Napi::Value(Napi::Env)>;
  /// Called on the engine's thread.
  using Work = std::function<Deliver(const LongCall&)>;

  static std::shared_ptr<EngineThread> start(Napi::Env env);
  ~EngineThread();

  /// Queues a job. Returns { promise, abort() }, lib/addon/addon.ts's NativeCall. `progress` is a function
  /// or undefined.
  Napi::Object submit(Napi::Env env, Work work, Napi::Value progress);
  /// Queues a job without result; what it throws is lost.
  void post(std::function<void()> work);

  /// Lets the running job finish, rejects those that wait (DISPOSED), frees the residents, ends the thread.
  Napi::Value stop(Napi::Env env);
  /// The same without a promise, for an engine that was forgotten.
  void abandon();

  /// Registers what must be freed on the engine's thread when it ends. Any thread.
  void adopt(std::weak_ptr<ResidentBase> resident);

 private:
  struct Job {
    uint64_t id = 0;  // 0: nobody waits for it
    Work work;
    std::shared_ptr<std::atomic<bool>> abort;
    bool reports = false;
  };

  struct Event {
    enum class Kind { progress, resolved, rejected, stopped };
    Kind kind;
    uint64_t id = 0;
    int64_t done = 0, total = 0;
    Deliver deliver = {};
    Failure failure = {};
  };

  struct Pending {
    Napi::Promise::Deferred deferred;
    Napi::FunctionReference progress;
  };

  static void on_events(Napi::Env env, Napi::Function, std::shared_ptr<EngineThread>* self, void*);
  using Signal = Napi::TypedThreadSafeFunction<std::shared_ptr<EngineThread>, void, on_events>;

  EngineThread() = default;
  void loop();                    // engine's thread
  Event execute(const Job& job);  // engine's thread
  void notify(Event event);       // any thread
  void drain(Napi::Env env);
  void settle(Napi::Env env, Event& event);
  void finish(Napi::Env env);
  void cancel(uint64_t id, const std::shared_ptr<std::atomic<bool>>& flag);
  void join();

  std::thread thread_;
  Signal signal_;
  std::unordered_map<uint64_t, Pending> pending_;
  std::optional<Napi::Promise::Deferred> stopped_;
  Napi::Env::CleanupHook<void (*)(EngineThread*), EngineThread> cleanup_;
  uint64_t next_id_ = 1;
  bool joined_ = false;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  std::deque<Event> events_;
  std::shared_ptr<std::atomic<bool>> running_;
  std::vector<std::weak_ptr<ResidentBase>> residents_;
  bool stopping_ = false;
};

}  // namespace spa::binding
