// doctest after ATen, whose logging header defines a CHECK of its own.
#pragma once

#include <ATen/ATen.h>

#undef CHECK
#include "third_party/doctest.h"
