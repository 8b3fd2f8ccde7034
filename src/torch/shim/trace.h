// libtorch's profiler; see trace.cpp.
#pragma once
#include <string>

namespace sp {

void start_trace(bool cuda);
void stop_trace(const std::string& path);

}  // namespace sp
