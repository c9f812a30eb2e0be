// A datagram in and its answer out, and how the way to a neighbour is found.
#include "packet/packet_test.hh"

namespace skua::test {

class echo : public testing::TestWithParam<family_case> {};
INSTANTIATE_TEST_SUITE_P(families, echo, testing::ValuesIn(both_families),
                         [](const auto& info) { return info.param.us.is_v4() ? "ipv4" : "ipv6"; });

TEST_P(echo, datagram_round_trip) {
    const auto& f = GetParam();
    tested_world w(1, know_peers);
    auto s = w.open({f.us, 7});
    for (const std::size_t size : {0, 1, 2, 17, 1000, 1452}) {
        w.inject(udp_frame(f.spec, 40000, 7, pattern(size)));
        const auto got = w.receive(*s);
        ASSERT_TRUE(got) << size;
        EXPECT_EQ(got->payload, pattern(size));
        EXPECT_EQ(got->from, (endpoint{f.peer, 40000, 0}));
        ASSERT_TRUE(w.send(*s, got->payload, got->from));
        const seen out = w.sent_one();
        EXPECT_TRUE(out.sound) << size;
        EXPECT_EQ(out.to, peer_mac);
        EXPECT_EQ(out.from, our_mac);
        EXPECT_EQ(out.type, f.type);
        EXPECT_EQ(out.source, f.us);
        EXPECT_EQ(out.destination, f.peer);
        EXPECT_EQ(out.hop_limit, 64);
        ASSERT_TRUE(out.udp);
        EXPECT_EQ(out.udp->source_port.host(), 7);
        EXPECT_EQ(out.udp->destination_port.host(), 40000);
        EXPECT_NE(out.udp->checksum, be16{});
        EXPECT_EQ(out.payload, pattern(size));
    }
    EXPECT_EQ(w.count(f.in_datagrams), 6u);
    EXPECT_EQ(w.count(f.out_datagrams), 6u);
    EXPECT_EQ(w.all_drops(), 0u);
}

TEST_P(echo, ping) {
    const auto& f = GetParam();
    tested_world w(1, know_peers);
    for (const std::size_t size : {0, 1, 56, 1400}) {
        w.inject(echo_request(f.spec, pattern(size)));
        const seen out = w.sent_one();
        EXPECT_TRUE(out.sound);
        EXPECT_EQ(out.to, peer_mac);
        EXPECT_EQ(out.source, f.us);
        EXPECT_EQ(out.destination, f.peer);
        EXPECT_EQ(out.hop_limit, 64);
        ASSERT_TRUE(out.icmp);
        EXPECT_EQ(out.icmp->type, f.us.is_v4() ? wire::icmp4::echo_reply : wire::icmp6::echo_reply);
        EXPECT_EQ(out.icmp->rest.host(), 0x00010002u);
        EXPECT_EQ(out.payload, pattern(size));
    }
    EXPECT_EQ(w.count(f.us.is_v4() ? mib::icmp_in_echos : mib::icmp6_in_echos), 4u);
    EXPECT_EQ(w.count(f.us.is_v4() ? mib::icmp_out_echo_reps : mib::icmp6_out_echo_replies), 4u);
}

TEST_P(echo, over_a_vlan) {
    const auto& f = GetParam();
    tested_world w(1, [](control::config& c) {
        control::vlan_config v;
        v.id = 10;
        v.addresses = {*ip_prefix::parse("10.10.0.1/24"), *ip_prefix::parse("2001:db8:10::1/64")};
        c.ports[0].vlans.push_back(v);
        c.static_neighbours.push_back({"p0.10", ip("10.10.0.2"), peer_mac});
        c.static_neighbours.push_back({"p0.10", ip("2001:db8:10::2"), peer_mac});
    });
    ip_spec spec = f.spec;
    spec.from = f.us.is_v4() ? ip("10.10.0.2") : ip("2001:db8:10::2");
    spec.to = f.us.is_v4() ? ip("10.10.0.1") : ip("2001:db8:10::1");
    auto s = w.open({spec.to, 7});
    w.inject(vlan_frame(10, ip_packet(spec, udp(spec, 40000, 7, "tagged"))));
    const auto got = w.receive(*s);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->payload, "tagged");
    ASSERT_TRUE(w.send(*s, "answer", got->from));
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    EXPECT_EQ(out.vlan, 10);
    EXPECT_EQ(out.to, peer_mac);
    EXPECT_EQ(out.payload, "answer");

    // A tag that the NIC has taken off, and a priority tag, which is none.
    w.inject_as_nic(frame(ip_packet(spec, udp(spec, 40000, 7, "stripped"))), [](rte_mbuf& m) {
        m.ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
        m.vlan_tci = 0xa00a;
    });
    EXPECT_THAT(w.receive_all(*s), ElementsAre("stripped"));
    auto untagged = w.open({f.us, 8});
    w.inject(vlan_frame(0xe000, ip_packet(f.spec, udp(f.spec, 40000, 8, "priority"))));
    EXPECT_THAT(w.receive_all(*untagged), ElementsAre("priority"));
}

TEST_P(echo, trusts_checksums_that_the_nic_has_judged) {
    const auto& f = GetParam();
    tested_world w(1, know_peers);
    auto s = w.open({f.us, 7});
    const std::string good = udp_frame(f.spec, 40000, 7, "payload");
    std::string bad = good;
    bad.back() ^= 1;
    w.inject_as_nic(bad, [](rte_mbuf& m) { m.ol_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD; });
    EXPECT_EQ(w.receive_all(*s).size(), 1u);
    w.inject_as_nic(good, [](rte_mbuf& m) { m.ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD; });
    EXPECT_EQ(w.drops(drop_reason::udp_bad_checksum), 1u);
    w.inject_as_nic(bad);
    EXPECT_EQ(w.drops(drop_reason::udp_bad_checksum), 2u);
    EXPECT_THAT(w.receive_all(*s), IsEmpty());
}

// ---- neighbours ----

TEST(neighbours, arp_request_is_answered) {
    tested_world w;
    w.inject(arp_request());
    const seen out = w.sent_one();
    ASSERT_TRUE(out.arp);
    EXPECT_EQ(out.to, peer_mac);
    EXPECT_EQ(out.from, our_mac);
    EXPECT_EQ(out.arp->operation.host(), wire::arp_reply);
    EXPECT_EQ(out.arp->sender_mac, our_mac);
    EXPECT_EQ(ip_address(out.arp->sender_ip), us4);
    EXPECT_EQ(out.arp->target_mac, peer_mac);
    EXPECT_EQ(ip_address(out.arp->target_ip), peer4);

    // Who asked is known now: nothing needs to be resolved for an answer.
    auto s = w.open({us4, 7});
    ASSERT_TRUE(w.send(*s, "x", {peer4, 9, 0}));
    EXPECT_EQ(w.sent_one().payload, "x");
}

TEST(neighbours, solicitation_is_answered) {
    tested_world w;
    const auto announcements = w.count(mib::icmp6_out_neighbor_advertisements);
    w.inject(neighbor_solicitation());
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    EXPECT_EQ(out.to, peer_mac);
    EXPECT_EQ(out.source, us6);
    EXPECT_EQ(out.destination, peer6);
    EXPECT_EQ(out.hop_limit, 255);
    ASSERT_TRUE(out.icmp);
    EXPECT_EQ(out.icmp->type, wire::icmp6::neighbor_advertisement);
    EXPECT_EQ(out.icmp->rest.host(), wire::nd_solicited | wire::nd_override);
    EXPECT_EQ(w.count(mib::icmp6_in_neighbor_solicits), 1u);
    EXPECT_EQ(w.count(mib::icmp6_out_neighbor_advertisements), announcements + 1);
}

TEST(neighbours, parked_datagrams_leave_in_order) {
    for (const auto& f : both_families) {
        tested_world w;
        auto s = w.open({f.us, 7});
        for (const char* text : {"first", "second", "third"}) ASSERT_TRUE(w.send(*s, text, {f.peer, 9, 0}));
        const seen question = w.sent_one();
        if (f.us.is_v4()) {
            ASSERT_TRUE(question.arp);
            EXPECT_EQ(question.to, mac_address::broadcast());
            EXPECT_EQ(ip_address(question.arp->target_ip), peer4);
            w.inject(arp_reply());
        } else {
            ASSERT_TRUE(question.icmp);
            EXPECT_EQ(question.icmp->type, wire::icmp6::neighbor_solicitation);
            EXPECT_EQ(question.to, wire::multicast_mac(ip("ff02::1:ff00:2")));
            w.inject(neighbor_advertisement());
        }
        std::vector<std::string> payloads;
        for (const auto& frame : w.sent()) {
            const seen out = look(frame);
            EXPECT_TRUE(out.sound);
            EXPECT_EQ(out.to, peer_mac);
            payloads.push_back(out.payload);
        }
        EXPECT_THAT(payloads, ElementsAre("first", "second", "third"));
        EXPECT_EQ(w.all_drops(), 0u);
    }
}

TEST(neighbours, who_does_not_answer_is_given_up) {
    for (const auto& f : both_families) {
        tested_world w;
        auto s = w.open({f.us, 7});
        ASSERT_TRUE(w.send(*s, "lost", {f.peer, 9, 0}));
        std::size_t questions = w.sent().size();
        for (int i = 0; i < 4; i++) {
            w.advance(1s);
            questions += w.sent().size();
        }
        EXPECT_EQ(questions, 3u);
        EXPECT_EQ(w.drops(drop_reason::neigh_failed), 1u);
        // It may come back later.
        ASSERT_TRUE(w.send(*s, "found", {f.peer, 9, 0}));
        EXPECT_EQ(w.sent().size(), 1u);
        w.inject(f.us.is_v4() ? arp_reply() : neighbor_advertisement());
        EXPECT_EQ(w.sent_one().payload, "found");
    }
}

TEST(neighbours, through_the_gateway) {
    tested_world w(1, [](control::config& c) {
        know_peers(c);
        control::route_config r4, r6;
        r4.to = ip_prefix::parse("0.0.0.0/0");
        r4.via = peer4;
        r6.to = ip_prefix::parse("::/0");
        r6.via = peer6;
        c.routes = {r4, r6};
    });
    for (const auto& [us, far] : {std::pair(us4, ip("203.0.113.9")), std::pair(us6, ip("2001:db8:9::9"))}) {
        auto s = w.open({us, 7});
        ASSERT_TRUE(w.send(*s, "far", {far, 9, 0}));
        const seen out = w.sent_one();
        EXPECT_TRUE(out.sound);
        EXPECT_EQ(out.to, peer_mac);
        EXPECT_EQ(out.destination, far);
    }
}

TEST(neighbours, link_local_answers_leave_by_the_link) {
    tested_world w;
    const ip_spec spec{.from = ip("fe80::2"), .to = ip("fe80::1")};
    w.inject(nd_frame(wire::icmp6::neighbor_solicitation, spec.from, spec.to, spec.to, 0, peer_mac));
    EXPECT_EQ(w.sent().size(), 1u);
    auto s = w.open({ip("::"), 7});
    w.inject(udp_frame(spec, 40000, 7, "link"));
    const auto got = w.receive(*s);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->from.scope, w.stack().topology().by_name("p0")->index);
    ASSERT_TRUE(w.send(*s, "back", got->from));
    const seen out = w.sent_one();
    EXPECT_TRUE(out.sound);
    EXPECT_EQ(out.destination, spec.from);
    EXPECT_EQ(out.source, spec.to);
    w.inject(echo_request(spec, "ping"));
    EXPECT_EQ(w.sent_one().payload, "ping");
}

}  // namespace skua::test
