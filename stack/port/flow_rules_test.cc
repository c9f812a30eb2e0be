// Rules on devices that refuse them all, and what is left of that.
#include "port/flow_rules.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "port/ring_pair.hh"
#include "port/test_support.hh"

namespace skua::port {
namespace {

const flow_key some_flow{*ip_address::parse("198.18.0.1"), *ip_address::parse("198.18.0.2"), 7, 40000};

TEST(flow_rules, a_device_that_refuses_is_told_of_in_its_own_words) {
    test::counted_pool pool;
    const auto wire = ring_wire::make(test::unique_name("rules"), 2);
    ASSERT_TRUE(wire) << wire.error();
    const auto p = test::start((*wire)->id(), {.queues = 2}, pool);
    ASSERT_TRUE(p) << p.error();
    flow_rules rules((*p)->id(), 16);
    EXPECT_FALSE(rules.takes_flows());
    EXPECT_FALSE(rules.takes_ports());
    EXPECT_FALSE(rules.marks());
    EXPECT_EQ(rules.add(some_flow, 1, 5).error().code, ENOTSUP);
    EXPECT_EQ(rules.add_port(ip_family::v4, 7, 1).error().code, ENOTSUP);
    EXPECT_EQ(rules.installed(), 0u);
    rules.remove(1);
    const auto rows = rules.capabilities();
    ASSERT_EQ(rows.size(), 3u);
    for (const auto& row : rows) {
        EXPECT_EQ(row.where, place::software);
        EXPECT_FALSE(row.note.empty());
    }
    (*p)->tell(rows);
    EXPECT_THAT((*p)->describe(), testing::HasSubstr("Connected flow to queue"));
}

TEST(flow_rules, without_a_budget_nothing_is_tried) {
    const flow_rules rules(RTE_MAX_ETHPORTS - 1, 0);
    for (const auto& row : rules.capabilities()) EXPECT_EQ(row.note, "not asked for");
}

TEST(flow_rules, a_device_that_is_not_there_takes_none) {
    flow_rules rules(RTE_MAX_ETHPORTS - 1, 4);
    EXPECT_EQ(rules.add(some_flow, 0, 0).error().code, ENOTSUP);
}

}  // namespace
}  // namespace skua::port
