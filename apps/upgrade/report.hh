// What skua-upgrade prints and writes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "upgrade/scenario.hh"

namespace skua::upgrade {

struct report {
    results generations, plain_reuseport, kernel;
    std::optional<results> processes;  // with generations
};

std::string report_text(const report& r);
std::string report_json(const report& r);
/// What should not be in a run with generations; empty if all is well.
std::vector<std::string> faults(const results& r);
std::vector<std::string> faults(const report& r);

}  // namespace skua::upgrade
