// Prints the reference of the configuration, for comparing with the committed one.
#include <cstdio>

#include "control/config.hh"

int main() { std::fputs(skua::control::config_reference().c_str(), stdout); }
