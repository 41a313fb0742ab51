// Functions without an engine: advantages, losses on plain arrays, what this build is.
#pragma once

#include <napi.h>

namespace spa::binding {

Napi::Value addon_info(const Napi::CallbackInfo& info);
Napi::Value parameters(const Napi::CallbackInfo& info);
Napi::Value adapter_parameters(const Napi::CallbackInfo& info);
Napi::Value pass_memory_function(const Napi::CallbackInfo& info);

Napi::Value gae_function(const Napi::CallbackInfo& info);
Napi::Value bi_level_gae_function(const Napi::CallbackInfo& info);
Napi::Value whiten_function(const Napi::CallbackInfo& info);

Napi::Value policy_loss_function(const Napi::CallbackInfo& info);
Napi::Value value_loss_function(const Napi::CallbackInfo& info);
Napi::Value aggregate_function(const Napi::CallbackInfo& info);
Napi::Value kl_penalty_function(const Napi::CallbackInfo& info);

}  // namespace spa::binding
