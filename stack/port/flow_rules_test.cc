// Rules on devices that take them and on devices that refuse them.
#include "port/flow_rules.hh"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "port/ring_pair.hh"
#include "port/rules_test_support.hh"
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

TEST(flow_rules, are_made_up_to_the_budget_and_taken_back) {
    skua::test::rule_table nic;
    {
        flow_rules rules(nic.taker(), 3);
        EXPECT_TRUE(rules.takes_flows() && rules.takes_ports() && rules.marks());
        EXPECT_TRUE(nic.entries().empty()) << "what was tried stayed";
        const auto flow = rules.add(some_flow, 1, 5);
        ASSERT_TRUE(flow);
        ASSERT_TRUE(rules.add_port(ip_family::v4, 53, 2));
        ASSERT_TRUE(rules.add_port(ip_family::v6, 53, 3));
        const flow_key v4{some_flow.local, some_flow.remote, 53, 9};
        const flow_key v6{*ip_address::parse("2001:db8::1"), *ip_address::parse("2001:db8::2"), 53, 9};
        ASSERT_TRUE(nic.find(some_flow) && nic.find(v4) && nic.find(v6));
        EXPECT_EQ(nic.find(some_flow)->queue, 1);
        EXPECT_EQ(nic.find(some_flow)->mark, 5u);
        EXPECT_EQ(nic.find(v4)->queue, 2);
        EXPECT_EQ(nic.find(v6)->queue, 3);
        EXPECT_EQ(rules.add_port(ip_family::v4, 54, 0).error().code, ENOSPC);
        EXPECT_EQ(rules.refused(), 1u);
        EXPECT_EQ(rules.installed(), 3u);
        rules.remove(*flow);
        EXPECT_EQ(nic.find(some_flow), nullptr);
        const flow_key six{v6.local, v6.remote, 7, 40000};
        ASSERT_TRUE(rules.add(six, 4, 6));
        ASSERT_TRUE(nic.find(six));
        EXPECT_EQ(nic.find(six)->mark, 6u);
        for (const auto& row : rules.capabilities()) {
            EXPECT_EQ(row.where, place::hardware);
            EXPECT_EQ(row.note, "up to 3");
        }
    }
    EXPECT_TRUE(nic.entries().empty());
}

TEST(flow_rules, each_kind_is_tried_for_itself) {
    skua::test::rule_table nic;
    nic.marks = false;
    {
        flow_rules rules(nic.taker(), 3);
        EXPECT_TRUE(rules.takes_flows() && rules.takes_ports());
        EXPECT_FALSE(rules.marks());
        ASSERT_TRUE(rules.add(some_flow, 1, 5));
        EXPECT_EQ(nic.find(some_flow)->mark, 0u);
    }
    nic.flows = false;
    EXPECT_FALSE(flow_rules(nic.taker(), 3).takes_flows());
    EXPECT_TRUE(flow_rules(nic.taker(), 3).takes_ports());
    nic.only_validates = true;
    EXPECT_FALSE(flow_rules(nic.taker(), 3).takes_ports());
}

TEST(flow_rules, a_device_that_is_full_is_told_of) {
    skua::test::rule_table nic;
    nic.room = 1;
    flow_rules rules(nic.taker(), 3);
    ASSERT_TRUE(rules.add_port(ip_family::v4, 53, 2));
    EXPECT_EQ(rules.add_port(ip_family::v6, 53, 2).error().code, ENOSPC);
    EXPECT_EQ(rules.last_refusal(), "the device is full");
    EXPECT_EQ(rules.refused(), 1u);
}

}  // namespace
}  // namespace skua::port
