// What the tests of suite packet share: a host whose packets must all be back in their pools at the end.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/frames.hh"
#include "support/world.hh"

namespace skua::test {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

/// Make it before the sockets of a test, so that they are closed when it looks for missing packets.
class tested_world : public world {
public:
    using world::world;
    ~tested_world() { EXPECT_EQ(missing(), 0u) << "packets are missing"; }
};

/// Static neighbours, so that nothing needs to be resolved.
inline void know_peers(control::config& c) {
    for (const auto& a : {peer4, peer6}) c.static_neighbours.push_back({"p0", a, peer_mac});
}

inline void set(socket::udp_socket& s, int level, int name, int value) {
    ASSERT_TRUE(s.setsockopt(level, name, &value, sizeof value));
}
inline int option(socket::udp_socket& s, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_TRUE(s.getsockopt(level, name, &value, &length));
    return value;
}
/// For world::open(): an option to be set before bind.
inline auto with(int level, int name, int value = 1) {
    return [=](socket::udp_socket& s) { set(s, level, name, value); };
}

/// For tests of both families.
struct family_case {
    const ip_spec& spec;  // of a packet from the peer
    ip_address us, peer;
    std::uint16_t type;
    mib in_datagrams, no_ports, in_errors, out_datagrams;
};
inline std::ostream& operator<<(std::ostream& out, const family_case& f) { return out << f.us.to_string(); }
inline const family_case both_families[] = {
    {spec4, us4, peer4, 0x0800, mib::udp_in_datagrams, mib::udp_no_ports, mib::udp_in_errors, mib::udp_out_datagrams},
    {spec6, us6, peer6, 0x86dd, mib::udp6_in_datagrams, mib::udp6_no_ports, mib::udp6_in_errors,
     mib::udp6_out_datagrams},
};

}  // namespace skua::test
