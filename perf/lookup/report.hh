// What the lookups cost: the lines of a table and the JSON file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lookup/growth.hh"
#include "lookup/measure.hh"

namespace skua::lookup_perf {

std::string table_head();
std::string table_line(const figures& f);
std::string growth_text(const growth_figures& g);
std::string report_json(const std::vector<figures>& all, const std::optional<growth_figures>& growth);

}  // namespace skua::lookup_perf
