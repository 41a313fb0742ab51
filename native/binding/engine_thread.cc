#include "binding/engine_thread.h"

namespace spa::binding {
namespace {

const Failure disposed{"DISPOSED", "the engine was disposed before this call was its turn",
                       "create a new engine"};
const Failure aborted{"ABORTED", "the operation was aborted", ""};

}  // namespace

std::shared_ptr<EngineThread> EngineThread::start(Napi::Env env) {
  std::shared_ptr<EngineThread> self(new EngineThread());
  auto* context = new std::shared_ptr<EngineThread>(self);
  self->signal_ = Signal::New(
      env, "spa engine", 0, 1, context,
      [](Napi::Env, void*, std::shared_ptr<EngineThread>* owned) { delete owned; },
      static_cast<void*>(nullptr));
  self->signal_.Unref(env);
  // Hooks run last come first served: this one before the thread-safe function's own, so that nobody calls it
  // when it is gone.
  self->cleanup_ = env.AddCleanupHook(+[](EngineThread* thread) { thread->join(); }, self.get());
  self->thread_ = std::thread([raw = self.get()] { raw->loop(); });
  return self;
}

EngineThread::~EngineThread() { join(); }

Napi::Object EngineThread::submit(Napi::Env env, Work work, Napi::Value progress) {
  const uint64_t id = next_id_++;
  auto flag = std::make_shared<std::atomic<bool>>(false);
  auto deferred = Napi::Promise::Deferred::New(env);
  auto call = Napi::Object::New(env);
  call.Set("promise", deferred.Promise());
  call.Set("abort", Napi::Function::New(env, [weak = weak_from_this(), id, flag](const Napi::CallbackInfo&) {
             if (const auto self = weak.lock()) self->cancel(id, flag);
           }));

  const std::lock_guard lock(mutex_);
  if (stopping_) {
    deferred.Reject(make_error(env, disposed));
    return call;
  }
  Pending pending{deferred, {}};
  if (progress.IsFunction()) pending.progress = Napi::Persistent(progress.As<Napi::Function>());
  if (pending_.empty()) signal_.Ref(env);
  pending_.emplace(id, std::move(pending));
  queue_.push_back({id, std::move(work), std::move(flag), progress.IsFunction()});
  wake_.notify_one();
  return call;
}

void EngineThread::post(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  queue_.push_back({0,
                    [work = std::move(work)](const LongCall&) {
                      work();
                      return Deliver();
                    },
                    std::make_shared<std::atomic<bool>>(false), false});
  wake_.notify_one();
}

/// A job that waits is rejected at once, the running one finds the flag at its next check.
void EngineThread::cancel(uint64_t id, const std::shared_ptr<std::atomic<bool>>& flag) {
  flag->store(true);
  const std::lock_guard lock(mutex_);
  const size_t before = queue_.size();
  std::erase_if(queue_, [id](const Job& job) { return job.id == id; });
  if (queue_.size() < before) {
    events_.push_back({Event::Kind::rejected, id, 0, 0, {}, aborted});
    signal_.NonBlockingCall();
  }
}

Napi::Value EngineThread::stop(Napi::Env env) {
  stopped_ = Napi::Promise::Deferred::New(env);
  if (joined_) {
    stopped_->Resolve(env.Undefined());
    return stopped_->Promise();
  }
  if (pending_.empty()) signal_.Ref(env);
  abandon();
  return stopped_->Promise();
}

void EngineThread::abandon() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  wake_.notify_one();
}

void EngineThread::adopt(std::weak_ptr<ResidentBase> resident) {
  const std::lock_guard lock(mutex_);
  std::erase_if(residents_, [](const auto& other) { return other.expired(); });
  residents_.push_back(std::move(resident));
}

/// The environment ends, or everything is over: aborts what runs and waits for the thread.
void EngineThread::join() {
  if (joined_) return;
  joined_ = true;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (running_) running_->store(true);
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
  pending_.clear();
}

void EngineThread::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) break;
    Job job = std::move(queue_.front());
    queue_.pop_front();
    running_ = job.abort;
    lock.unlock();
    Event event = execute(job);
    job.work = nullptr;  // frees what the job holds on this thread
    if (job.id != 0) notify(std::move(event));
    lock.lock();
    running_.reset();
  }
  auto waiting = std::move(queue_);
  queue_.clear();
  const auto residents = std::move(residents_);
  lock.unlock();
  for (const Job& job : waiting) {
    if (job.id != 0) notify({Event::Kind::rejected, job.id, 0, 0, {}, disposed});
  }
  waiting.clear();
  for (auto resident = residents.rbegin(); resident != residents.rend(); ++resident) {
    if (const auto alive = resident->lock()) alive->dispose();
  }
  notify({Event::Kind::stopped});
}

EngineThread::Event EngineThread::execute(const Job& job) {
  try {
    LongCall call;
    call.abort = job.abort.get();
    if (job.reports) {
      call.progress = [this, id = job.id](int64_t done, int64_t total) {
        notify({Event::Kind::progress, id, done, total});
      };
    }
    call.check();
    return {Event::Kind::resolved, job.id, 0, 0, job.work(call)};
  } catch (...) {
    return {Event::Kind::rejected, job.id, 0, 0, {}, failure_of(std::current_exception())};
  }
}

void EngineThread::notify(Event event) {
  const std::lock_guard lock(mutex_);
  // Progress that nobody has looked at yet is overtaken by newer progress.
  if (event.kind == Event::Kind::progress && !events_.empty() &&
      events_.back().kind == Event::Kind::progress && events_.back().id == event.id) {
    events_.back() = std::move(event);
    return;
  }
  events_.push_back(std::move(event));
  signal_.NonBlockingCall();
}

void EngineThread::on_events(Napi::Env env, Napi::Function, std::shared_ptr<EngineThread>* self, void*) {
  // Without an environment to call into, the cleanup hook has done all there is to do.
  if (env == nullptr) return;
  const auto alive = *self;
  alive->drain(env);
}

void EngineThread::drain(Napi::Env env) {
  const Napi::HandleScope scope(env);
  std::deque<Event> events;
  {
    const std::lock_guard lock(mutex_);
    events.swap(events_);
  }
  for (Event& event : events) {
    try {
      if (event.kind == Event::Kind::stopped) {
        finish(env);
      } else {
        settle(env, event);
      }
    } catch (const Napi::Error&) {
      // A worker that is being terminated runs no more JavaScript; there is nobody to tell.
    }
  }
}

void EngineThread::settle(Napi::Env env, Event& event) {
  const auto found = pending_.find(event.id);
  if (found == pending_.end()) return;
  if (event.kind == Event::Kind::progress) {
    const auto done = Napi::Number::New(env, static_cast<double>(event.done));
    found->second.progress.Value().Call({done, Napi::Number::New(env, static_cast<double>(event.total))});
    return;
  }
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  if (pending_.empty() && !stopped_) signal_.Unref(env);
  Failure failure = std::move(event.failure);
  if (event.kind == Event::Kind::resolved) {
    try {
      pending.deferred.Resolve(event.deliver ? event.deliver(env) : env.Undefined());
      return;
    } catch (const Napi::Error& error) {
      pending.deferred.Reject(error.Value());
      return;
    } catch (...) {
      failure = failure_of(std::current_exception());
    }
  }
  pending.deferred.Reject(make_error(env, failure));
}

/// The thread has ended by stop() or abandon().
void EngineThread::finish(Napi::Env env) {
  cleanup_.Remove(env);
  join();
  if (stopped_) stopped_->Resolve(env.Undefined());
  signal_.Release();
}

}  // namespace spa::binding
