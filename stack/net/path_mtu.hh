// Path MTUs that ICMP told us about (RFC 1191, RFC 8201), by destination.
//
// A table of fixed size, four entries to a set, the oldest of a set giving way. Readers take no lock: an entry carries
// a sequence that is odd while it is changed. So an ICMP error costs no allocation, and a flood of them displaces,
// never grows.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "base/address.hh"
#include "base/clock.hh"
#include "base/hash.hh"

namespace skua::net {

struct path_mtu_options {
    std::uint32_t entries = 4096;                      // rounded up to a power of two, at least 4
    nanoseconds lifetime = std::chrono::seconds(600);  // Linux: ipv4.route.mtu_expires, ipv6.route.mtu_expires
    std::uint32_t minimum_v4 = 552;                    // Linux: ipv4.route.min_pmtu
    std::uint32_t minimum_v6 = 1280;                   // RFC 8201 §4
    std::uint32_t changes_per_second = 1000;           // more are ignored
};

class path_mtu_cache {
public:
    explicit path_mtu_cache(random_source& random, const path_mtu_options& options = {});

    /// Bytes of an IP packet that pass on the way to `to`: the least known and still valid, but never more than
    /// `interface_mtu`. Any thread.
    std::uint32_t lookup(const ip_address& to, std::uint32_t interface_mtu, time_point now) const;
    /// A router said that `mtu` bytes pass. The caller has checked that the error quotes a datagram of ours, and says
    /// how much it believed until now. Only ever lowers (RFC 8201 §4); what lies below the family's minimum counts as
    /// the minimum. Returns the MTU now in force, or 0 if nothing changed. Any thread; takes a short lock.
    std::uint32_t learn(const ip_address& to, std::uint32_t mtu, std::uint32_t interface_mtu, time_point now);
    /// Forgets everything.
    void flush();
    /// Every valid entry; for listings.
    void for_all(time_point now,
                 const std::function<void(const ip_address&, std::uint32_t mtu, time_point expires)>& visit) const;

private:
    struct value {
        ip_address to;
        std::uint32_t mtu = 0;  // 0: empty
        time_point expires{};
    };
    class entry {
    public:
        bool read(value& out) const;  // false if it is being changed
        void write(const value& v);

    private:
        std::atomic<std::uint32_t> sequence_{0};
        std::atomic<std::uint32_t> mtu_{0};
        std::atomic<std::uint64_t> address_[2]{};
        std::atomic<std::int64_t> expires_{0};
    };
    static constexpr std::size_t ways = 4;
    using set = std::array<entry, ways>;

    set& set_of(const ip_address& to) const { return sets_[hash_(to, 0) & (set_count_ - 1)]; }

    const path_mtu_options options_;
    const keyed_hash hash_;
    const std::size_t set_count_;
    const std::unique_ptr<set[]> sets_;
    std::mutex lock_;  // of writers
    time_point window_{};
    std::uint32_t changes_ = 0;
};

}  // namespace skua::net
