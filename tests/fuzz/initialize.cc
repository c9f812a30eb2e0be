// Starts the EAL before libFuzzer's first input; in a replay tests/support/eal_main.cc does.
#include <cstdlib>

#include "support/eal.hh"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    if (!skua::test::start_eal()) std::exit(2);
    return 0;
}
