// A Node addon without libtorch. `load(path)` opens a shared library with all its symbols visible and returns
// null, or the dynamic linker's words on what went wrong: the real addon is required only after this has
// succeeded.
#include <dlfcn.h>
#include <node_api.h>
#include <stdlib.h>

static napi_value Load(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argument, result;
  char path[4096];
  size_t length;
  napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
  if (argc < 1 || napi_get_value_string_utf8(env, argument, path, sizeof path, &length) != napi_ok) {
    napi_throw_type_error(env, NULL, "load(path) takes the path of a shared library");
    return NULL;
  }
  // Threads that spin between parallel regions cost 10 to 50 times on a busy machine. The OpenMP runtime
  // reads this once, when it is loaded; a user's own setting wins.
  setenv("OMP_WAIT_POLICY", "passive", 0);
  // Large tensors on large pages: reading weights is up to a fifth faster. libtorch reads this at its first
  // allocation.
  setenv("THP_MEM_ALLOC_ENABLE", "1", 0);
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL) == NULL) {
    napi_create_string_utf8(env, dlerror(), NAPI_AUTO_LENGTH, &result);
  } else {
    napi_get_null(env, &result);
  }
  return result;
}

NAPI_MODULE_INIT() {
  napi_value load;
  napi_create_function(env, "load", NAPI_AUTO_LENGTH, Load, NULL, &load);
  napi_set_named_property(env, exports, "load", load);
  return exports;
}
