// Rules: what decides, when it can be told, and what is refused with which words.
#include "client/preload/rules.hh"

#include <gtest/gtest.h>

namespace skua::client {

namespace {

using where = rules::where;
using when = rules::when;

rules read(std::string_view text) {
    auto r = rules::parse(text);
    if (!r) throw std::runtime_error(r.error());
    return std::move(*r);
}

std::string refused(std::string_view text) {
    const auto r = rules::parse(text);
    return r ? "accepted" : r.error();
}

endpoint to(const char* address, std::uint16_t port = 53) { return {*ip_address::parse(address), port, 0}; }

where goes(const rules& r, const char* address, std::uint16_t port = 53, when w = when::sent) {
    return r.decide("dig", w, to(address, port)).to;
}

}  // namespace

TEST(rules, without_any_all_is_skua) {
    const auto d = rules().decide("dig");
    ASSERT_TRUE(d);
    EXPECT_EQ(d->to, where::skua);
    EXPECT_EQ(d->why, "no rule");
    EXPECT_EQ(read("\n  # nothing\n\t\r\n").decide("dig")->to, where::skua);
}

TEST(rules, a_program_is_told_at_once) {
    const rules r = read("kernel program ntp*\nskua\n");
    EXPECT_EQ(r.decide("ntpd")->to, where::kernel);
    EXPECT_EQ(r.decide("ntpd")->why, "rule 1: kernel program ntp*");
    EXPECT_EQ(r.decide("dig")->to, where::skua);
    EXPECT_EQ(r.decide("dig")->why, "rule 2: skua");
}

TEST(rules, an_address_is_waited_for) {
    const rules r = read("kernel address 127.0.0.0/8\nkernel address ::1   # its twin\n");
    EXPECT_FALSE(r.decide("dig"));
    EXPECT_EQ(goes(r, "127.1.2.3"), where::kernel);
    EXPECT_EQ(goes(r, "127.1.2.3", 53, when::bound), where::kernel);
    EXPECT_EQ(goes(r, "128.0.0.0"), where::skua);
    EXPECT_EQ(goes(r, "::1"), where::kernel);
    EXPECT_EQ(goes(r, "::2"), where::skua);
    EXPECT_EQ(r.decide("dig", when::sent, to("::1")).why, "rule 2: kernel address ::1");
}

TEST(rules, an_address_rule_of_another_program_is_not_waited_for) {
    const rules r = read("kernel program ntpd address 127.0.0.0/8\n");
    ASSERT_TRUE(r.decide("dig"));
    EXPECT_EQ(r.decide("dig")->to, where::skua);
    EXPECT_FALSE(r.decide("ntpd"));
    EXPECT_EQ(goes(r, "127.0.0.1"), where::skua);
}

TEST(rules, local_is_bound_and_remote_is_sent_to) {
    const rules r = read("kernel local 198.18.0.0/24\nkernel remote 203.0.113.7\n");
    EXPECT_EQ(goes(r, "198.18.0.5", 1, when::bound), where::kernel);
    EXPECT_EQ(goes(r, "198.18.0.5", 1, when::sent), where::skua);
    EXPECT_EQ(goes(r, "203.0.113.7", 1, when::sent), where::kernel);
    EXPECT_EQ(goes(r, "203.0.113.7", 1, when::bound), where::skua);
    EXPECT_EQ(goes(r, "203.0.113.8", 1, when::sent), where::skua);
}

TEST(rules, ports_have_both_ends) {
    const rules r = read("kernel port 5000-5010\nkernel port 53 address 198.18.0.1\n");
    for (const std::uint16_t port : {5000, 5005, 5010}) EXPECT_EQ(goes(r, "192.0.2.1", port), where::kernel) << port;
    for (const std::uint16_t port : {4999, 5011, 53}) EXPECT_EQ(goes(r, "192.0.2.1", port), where::skua) << port;
    EXPECT_EQ(goes(r, "198.18.0.1", 53), where::kernel);
    EXPECT_EQ(goes(r, "198.18.0.1", 54), where::skua);
}

TEST(rules, the_first_that_holds_decides) {
    const rules r = read("skua address 127.0.0.53\nkernel address 127.0.0.0/8\nskua\n");
    EXPECT_EQ(goes(r, "127.0.0.53"), where::skua);
    EXPECT_EQ(goes(r, "127.0.0.54"), where::kernel);
    EXPECT_EQ(r.decide("dig", when::sent, to("192.0.2.1")).why, "rule 3: skua");
    // What follows a rule without conditions is never asked.
    EXPECT_EQ(read("kernel\nskua address 127.0.0.1\n").decide("dig")->to, where::kernel);
}

TEST(rules, an_address_in_ipv6_form_is_an_ipv4_one) {
    EXPECT_EQ(goes(read("kernel address 127.0.0.0/8\n"), "::ffff:127.0.0.1"), where::kernel);
}

TEST(rules, what_is_wrong_is_told_with_its_line) {
    EXPECT_EQ(refused("\nkernal port 5\n"), "line 2: found \"kernal\", expected \"skua\" or \"kernel\"");
    EXPECT_EQ(refused("kernel adress ::1"),
              "line 1: found \"adress\", expected \"program\", \"address\", \"local\", \"remote\" or \"port\"");
    EXPECT_EQ(refused("kernel address 127.0.0.0/33"),
              "line 1: found \"127.0.0.0/33\", expected an address or a prefix (\"127.0.0.0/8\")");
    EXPECT_EQ(refused("kernel address # none"), "line 1: expected an address or a prefix (\"127.0.0.0/8\")");
    EXPECT_EQ(refused("kernel program"), "line 1: expected the name of a program");
    for (const char* ports : {"65536", "9-8", "x", "1-", "-1", "1-2-3", ""})
        EXPECT_NE(refused(std::string("kernel port ") + ports).find("expected a port or a range"), std::string::npos)
            << ports;
}

}  // namespace skua::client
