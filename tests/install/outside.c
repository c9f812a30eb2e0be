/* A C program outside the tree: builds against what `meson install` put in place. */
#include <skua/skua.h>
#include <stdio.h>

int main(void) {
    if (skua_drops("no such reason") != UINT64_MAX) return 1;
    puts("outside.c: linked and run");
    return 0;
}
