// Ports chosen by the stack: random, free of conflicts, and what happens when there are none.
#include "udp/ephemeral.hh"

#include <gtest/gtest.h>

#include <stdexcept>

#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

class ephemeral : public tables_fixture {
protected:
    ephemeral() : tables_fixture(table_options{.ephemeral_first = 40000, .ephemeral_last = 40003}) {}
    int bind_any_port(test_socket& s, std::string_view address) { return bind_error(s, address, 0); }
};

class reserved : public tables_fixture {
protected:
    reserved()
        : tables_fixture(table_options{.ephemeral_first = 40000,
                                       .ephemeral_last = 40009,
                                       .reserved_ports = {40001, 40003, 40005, 40007, 40009}}) {}
};

class ephemeral_default : public tables_fixture {};

}  // namespace

TEST_F(ephemeral, exhaustion_is_eaddrinuse_for_bind_and_eagain_for_autobind) {  // 70
    for (int i = 0; i < 4; i++) ASSERT_EQ(bind_any_port(make(ip_family::v4, {}), "127.0.0.1"), 0);
    EXPECT_EQ(bind_any_port(make(ip_family::v4, {}), "127.0.0.1"), EADDRINUSE);
    EXPECT_EQ(bind_any_port(make(ip_family::v4, {}), "0.0.0.0"), EADDRINUSE);
    auto& s = make(ip_family::v4, {});
    EXPECT_EQ(table.autobind(s).error().code, EAGAIN);
    EXPECT_EQ(table.connect(s, addr("127.0.0.1"), {addr("127.0.0.1"), 9, 0}).error().code, EAGAIN);
    EXPECT_EQ(s.remote.port, 0);
    EXPECT_EQ(bind_any_port(make(ip_family::v4, {}), "127.0.0.2"), 0);
    EXPECT_EQ(bind_any_port(make(ip_family::v6, {}), "::1"), 0);
    EXPECT_EQ(bind_any_port(make(ip_family::v6, {}), "::"), EADDRINUSE);
}

TEST_F(ephemeral, every_port_of_the_range_is_used) {
    std::set<std::uint16_t> ports;
    for (int i = 0; i < 4; i++) {
        auto& s = make(ip_family::v4, {});
        ASSERT_TRUE(table.autobind(s));
        ports.insert(s.local.port);
    }
    EXPECT_EQ(ports, (std::set<std::uint16_t>{40000, 40001, 40002, 40003}));
}

TEST_F(ephemeral, with_reuse_a_used_port_may_be_given_again) {  // 71
    for (int i = 0; i < 12; i++) EXPECT_EQ(bind_any_port(make(ip_family::v4, {.reuse_address = true}), "127.0.0.1"), 0);
    EXPECT_EQ(bind_any_port(make(ip_family::v4, {}), "127.0.0.1"), EADDRINUSE);
}

TEST_F(ephemeral, autobound_twice_keeps_the_port) {
    auto& s = make(ip_family::v4, {});
    ASSERT_TRUE(table.autobind(s));
    const auto port = s.local.port;
    ASSERT_TRUE(table.autobind(s));
    EXPECT_EQ(s.local.port, port);
}

TEST_F(ephemeral, own_range_narrows) {  // 72
    auto& s = make(ip_family::v4, {});
    s.ephemeral_first = s.ephemeral_last = 40002;
    ASSERT_TRUE(table.autobind(s));
    EXPECT_EQ(s.local.port, 40002);
    auto& other = make(ip_family::v4, {});
    other.ephemeral_first = other.ephemeral_last = 40002;
    EXPECT_EQ(table.autobind(other).error().code, EAGAIN);
}

TEST(port_range_test, narrowing_never_widens) {
    const port_range r{100, 200};
    EXPECT_EQ(r.narrowed(0, 0).first, 100);
    EXPECT_EQ(r.narrowed(150, 160).first, 150);
    EXPECT_EQ(r.narrowed(150, 160).last, 160);
    EXPECT_EQ(r.narrowed(50, 300).first, 100);
    EXPECT_EQ(r.narrowed(50, 300).last, 200);
    EXPECT_EQ(r.narrowed(100, 200).last, 200);
}

TEST_F(reserved, ports_are_skipped_but_may_be_named) {  // 72
    for (int i = 0; i < 5; i++) {
        auto& s = make(ip_family::v4, {});
        ASSERT_TRUE(table.autobind(s));
        EXPECT_EQ(s.local.port % 2, 0);
    }
    EXPECT_EQ(table.autobind(make(ip_family::v4, {})).error().code, EAGAIN);
    EXPECT_EQ(bind_error(make(ip_family::v4, {}), "0.0.0.0", 40001), 0);
}

TEST_F(ephemeral_default, ports_are_spread_over_the_range) {
    std::array<int, 4> quarter{};
    for (int i = 0; i < 2000; i++) {
        auto& s = make(ip_family::v4, {});
        ASSERT_TRUE(table.autobind(s));
        ASSERT_GE(s.local.port, 32768);
        ASSERT_LE(s.local.port, 60999);
        quarter[(s.local.port - 32768u) * 4 / 28232]++;
    }
    for (const int n : quarter) EXPECT_NEAR(n, 500, 120);
}

TEST_F(ephemeral_default, the_whole_range_can_be_filled) {
    for (int i = 0; i < 28232; i++) ASSERT_TRUE(table.autobind(make(ip_family::v4, {}))) << i;
    EXPECT_EQ(table.autobind(make(ip_family::v4, {})).error().code, EAGAIN);
}

TEST(table_options_test, empty_range_is_refused) {
    rcu_domain rcu;
    seeded_random random(1);
    EXPECT_THROW(tables(rcu, random, {.ephemeral_first = 2, .ephemeral_last = 1}), std::invalid_argument);
    EXPECT_THROW(tables(rcu, random, {.ephemeral_first = 0, .ephemeral_last = 1}), std::invalid_argument);
}

}  // namespace skua::udp
