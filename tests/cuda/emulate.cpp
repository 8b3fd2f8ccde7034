// One file of kernels as a library for the CPU: KERNELS names it and ENTRIES lists its kernels as EXPORT(name).
#include "emulator.h"

#include KERNELS

ENTRIES
