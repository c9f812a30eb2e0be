// A C++ program outside the tree: builds against what `meson install` put in place.
#include <skua/skua.h>

#include <cstdio>
#include <skua/skua.hpp>

int main() {
    if (skua_mib("Udp", "no such counter") != UINT64_MAX) return 1;
    std::puts("outside.cc: linked and run");
    return 0;
}
