// What skua-upgrade prints and writes.
#pragma once

#include <string>
#include <vector>

#include "upgrade/scenario.hh"

namespace skua::upgrade {

struct report {
    results generations, plain_reuseport, kernel;
};

std::string report_text(const report& r);
std::string report_json(const report& r);
/// What should not be in the run with generations; empty if all is well.
std::vector<std::string> faults(const results& r);

}  // namespace skua::upgrade
