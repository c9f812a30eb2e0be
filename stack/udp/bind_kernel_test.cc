// The bind rules against the kernel's own: the same calls on its sockets (loopback only) and on ours.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <span>

#include "udp/kernel_fixture.hh"

namespace skua::udp {

namespace {

class bind_kernel : public tables_fixture {
protected:
    void SetUp() override {
        if (!kernel_has_ipv6()) GTEST_SKIP() << "the host has no IPv6";
    }

    /// Runs the steps in turn on both sides; every bind must end alike.
    void compare(std::span<const step> steps) {
        std::list<kernel_socket> theirs;
        std::string story;
        for (const auto& s : steps) {
            story += describe(s);
            int expected = 0;
            theirs.emplace_back(s, kernel_port_, expected);
            auto& ours = make(s.where.family,
                              {.reuse_address = s.reuse_address, .reuse_port = s.reuse_port, .v6_only = s.v6_only});
            const auto done = table.bind(ours, {addr(s.where.address), test_port, 0});
            ASSERT_EQ(done ? 0 : done.error().code, expected) << story;
            if (done && s.connects) {
                ASSERT_TRUE(table.connect(ours, source_for(s.where), {source_for(s.where), 9, 0}));
            }
        }
        for (auto& s : sockets) table.unbind(s);
        sockets.clear();
    }
    static std::vector<step> variants(bool with_connect) {
        std::vector<step> all;
        for (const auto& p : places)
            for (unsigned bits = 0; bits < (with_connect ? 16u : 8u); bits++) {
                const step s{p, bool(bits & 1), bool(bits & 2), bool(bits & 4), bool(bits & 8)};
                if (s.v6_only && p.family == ip_family::v4) continue;
                all.push_back(s);
            }
        return all;
    }

    const std::uint16_t kernel_port_ = free_kernel_port();
};

}  // namespace

TEST_F(bind_kernel, every_pair_of_sockets) {
    for (const auto& first : variants(true))
        for (const auto& second : variants(false)) ASSERT_NO_FATAL_FAILURE(compare(std::array{first, second}));
}

TEST_F(bind_kernel, random_sequences_of_sockets) {
    const auto all = variants(true);
    std::mt19937 random(7);
    for (int trial = 0; trial < 3000; trial++) {
        std::vector<step> steps;
        // Beyond ten sockets the kernel looks at part of them only (a wildcard no longer meets other addresses): not
        // ours to follow.
        for (std::size_t n = 3 + random() % 6; n > 0; n--) steps.push_back(all[random() % all.size()]);
        ASSERT_NO_FATAL_FAILURE(compare(steps));
    }
}

}  // namespace skua::udp
