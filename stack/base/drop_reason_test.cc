// Tests of the table of drop reasons.
#include "base/drop_reason.hh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

namespace skua {
namespace {

TEST(drop_reasons, rows_stand_in_the_order_of_the_enumeration) {
    for (std::size_t i = 0; i < drop_reasons.size(); i++) {
        EXPECT_EQ(static_cast<std::size_t>(drop_reasons[i].reason), i) << drop_reasons[i].name;
        EXPECT_EQ(to_string(drop_reasons[i].reason), drop_reasons[i].name);
    }
    EXPECT_EQ(to_string(drop_reason::none), "none");
    EXPECT_EQ(to_string(drop_reason::steer_loop), "steer_loop");
}

TEST(drop_reasons, names_are_distinct_and_fit_telemetry_keys) {
    std::set<std::string_view> names;
    for (const auto& row : drop_reasons) {
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_FALSE(row.name.empty());
        EXPECT_TRUE(std::ranges::all_of(row.name, [](unsigned char c) {
            return std::islower(c) || std::isdigit(c) || c == '_';
        })) << row.name;
        EXPECT_FALSE(row.meaning.empty()) << row.name;
    }
}

}  // namespace
}  // namespace skua
