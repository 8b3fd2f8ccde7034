// Counts floating-point operations; see flops.cpp.
#pragma once

namespace sp {

// Starts or stops counting on this thread; returns whether it was on.
bool count_flops(bool on);
double flops();
void set_flops(double value);

}  // namespace sp
