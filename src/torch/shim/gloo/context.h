// Declarations that make c10d's ProcessGroupGloo.hpp parse; the headers of gloo are not part of libtorch's package.
// libtorch contains the code. Nothing declared here is created, and no class of c10d that is created has one of
// these types as a member or base, so layouts do not depend on them; a test with a known sum guards this.
#pragma once
#include <chrono>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds) {}
};
}  // namespace gloo
