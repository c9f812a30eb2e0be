// What the tables take of memory for each socket, besides its pcb: the figures that lookup.hh states.
#include <gtest/gtest.h>
#include <malloc.h>

#include "support/sanitized.hh"
#include "udp/tables_fixture.hh"

namespace skua::udp {

namespace {

class memory : public tables_fixture {
protected:
    void SetUp() override {
        if (test::sanitized) GTEST_SKIP() << "a sanitizer's allocator has its own overhead";
    }
    static double allocated() {
        const auto m = mallinfo2();
        return static_cast<double>(m.uordblks + m.hblkhd);
    }
    /// Bytes for each of `n` sockets; `place` gives a pcb its place.
    template <class Place>
    double each_of(unsigned n, const test_options& o, Place&& place) {
        // The first socket of all takes what the next ones share.
        EXPECT_TRUE(table.bind(first_, {ip_address::v4_any(), 65535, 0}));
        for (unsigned i = 0; i < n; i++) make(ip_family::v4, o);
        const double before = allocated();
        unsigned i = 0;
        for (auto& s : sockets) place(s, i++);
        while (rcu.reclaim() != 0) {
        }
        const double bytes = (allocated() - before) / n;
        RecordProperty("bytes", std::to_string(bytes));
        table.unbind(first_);
        return bytes;
    }

private:
    test_socket first_{ip_family::v4};
};

}  // namespace

TEST_F(memory, connected_on_one_port) {
    const double bytes = each_of(100000, {.reuse_address = true}, [&](pcb& s, unsigned i) {
        ASSERT_TRUE(table.bind(s, {ip_address::v4_any(), test_port, 0}));
        const ipv4_address peer(10, 7, std::uint8_t(i >> 8), std::uint8_t(i));
        ASSERT_TRUE(table.connect(s, addr("10.0.0.1"), {peer, std::uint16_t(1 + (i >> 16)), 0}));
    });
    EXPECT_LT(bytes, 205);
}

TEST_F(memory, alone_on_a_port) {
    const double bytes = each_of(50000, {}, [&](pcb& s, unsigned i) {
        ASSERT_TRUE(table.bind(s, {ip_address::v4_any(), std::uint16_t(1 + i), 0}));
    });
    EXPECT_LT(bytes, 547);
}

TEST_F(memory, on_an_address_of_one_port) {
    const double bytes = each_of(100000, {}, [&](pcb& s, unsigned i) {
        ASSERT_TRUE(table.bind(
            s, {ipv4_address(10, std::uint8_t(i >> 16), std::uint8_t(i >> 8), std::uint8_t(i)), test_port, 0}));
    });
    EXPECT_LT(bytes, 465);
}

TEST_F(memory, member_of_a_large_group) {
    const double bytes = each_of(10000, {.reuse_port = true}, [&](pcb& s, unsigned) {
        ASSERT_TRUE(table.bind(s, {ip_address::v4_any(), test_port, 0}));
    });
    EXPECT_LT(bytes, 600);
}

TEST_F(memory, group_of_two) {
    const double bytes = each_of(2, {.reuse_port = true}, [&](pcb& s, unsigned) {
        ASSERT_TRUE(table.bind(s, {ip_address::v4_any(), test_port, 0}));
    });
    EXPECT_LT(2 * bytes, 8000);
}

}  // namespace skua::udp
