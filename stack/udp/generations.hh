// Generations: how the flows of a SO_REUSEPORT group outlive an upgrade of the program (skua/udp_grm.h has the words).
//
// A packet is asked for its flow. An established flow has a member, whatever generation it is of; all others go to the
// working generation, to the member that the packet's bucket among that generation's members has. Members are known by
// registrations, which are numbered and never given to others: a flow or a cookie that names one who left finds nobody,
// and is a new flow again.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/counters.hh"
#include "udp/dissector.hh"
#include "udp/flow_table.hh"
#include "udp/selector.hh"

namespace skua::udp {

class generations;

/// How packets were dispatched and answers noted. Names as in udpgrm, whose three stages they are: parsing, existing
/// flows, new flows; a packet is counted once in each stage that it comes to.
struct generation_counters {
    std::uint64_t rx_processed_total = 0;
    std::uint64_t rx_packet_too_short_error = 0;  // it ended before what tells its flow: taken for a new one

    std::uint64_t rx_dissected_ok_total = 0;
    std::uint64_t rx_flow_ok = 0;           // to the member that the flow belongs to
    std::uint64_t rx_flow_other_error = 0;  // that member has left
    std::uint64_t rx_flow_new_unseen = 0;
    std::uint64_t rx_flow_new_had_expired = 0;  // part of the last
    std::uint64_t rx_flow_new_bad_cookie = 0;   // part of it, too

    std::uint64_t rx_new_flow_total = 0;
    std::uint64_t rx_new_flow_working_gen_dispatch_ok = 0;
    std::uint64_t rx_new_flow_working_gen_dispatch_error =
        0;  // the working generation has no member: to the whole group

    std::uint64_t tx_total = 0;  // answers, and flows assured by hand
    std::uint64_t tx_flow_create_ok = 0;
    std::uint64_t tx_flow_create_from_expired_ok = 0;  // part of the last
    std::uint64_t tx_flow_create_error = 0;            // the table was in use
    std::uint64_t tx_flow_update_ok = 0;
    std::uint64_t tx_flow_update_conflict = 0;  // another member's flow: it stays there

    // skua's own
    std::uint64_t orphaned =
        0;                      // flows of members that had left, taken over by who answered; part of tx_flow_update_ok
    std::uint64_t evicted = 0;  // flows idle for longest, gone because the table was full
};

/// A member as the generations of its group know it.
struct registration {
    static constexpr std::uint32_t none = 0xffffffff;

    registration(generations& g, flow_table::seat_id s) : of(g), seat(s) {}
    generations& of;
    const flow_table::seat_id seat;
    // writer
    std::uint32_t generation = none;
    std::uint32_t index = none;
    std::uint32_t app = 0;
    /// Answers by what became of them: raised by any thread.
    std::array<std::atomic<std::uint64_t>, std::size_t(flow_table::outcome::count_)> answers{};
};

class generations final : public selector {
public:
    /// `flows`: room of the flow table.
    generations(rcu_domain& rcu, dissector d, std::size_t flows, random_source& random);
    ~generations() override;

    // ---- writer (under the tables' lock) ----
    /// How members are aligned with the NICs' tables; before the first enters.
    void follow(const spread* over) { spread_ = over; }
    /// After the spread, or the home of members, was changed.
    void align();
    /// Every member of the group comes and goes here.
    void enter(pcb& p);
    void leave(pcb& p);
    /// After its weight was changed.
    void update(pcb& p);
    /// registration::none: out of every generation. Errors: ENOSPC no cookie left; EAGAIN no registration left.
    result<void> set_generation(pcb& p, std::uint32_t generation);
    /// Errors: EEXIST it has a generation; EOVERFLOW.
    result<void> set_app(pcb& p, std::uint32_t app);
    /// Of the member's application.
    void set_working(const pcb& p, std::uint32_t generation);
    std::uint32_t working(const pcb& p) const { return working_number_[app_of(p)]; }
    std::uint32_t app_of(const pcb& p) const;
    /// 0 if the member has no index that fits.
    std::uint16_t cookie_of(const pcb& p) const;
    const dissector& dissects() const { return dissector_; }
    generation_counters counted() const;
    /// nullptr unless the dissector is FLOW.
    const flow_table* flows() const { return flows_.get(); }

    // ---- readers ----
    pcb* choose(const member_table& among, const lookup_key& key) const override;
    void prefetch(std::span<const lookup_key> keys) const override;
    std::string_view name() const override { return "generations"; }
    std::vector<std::pair<std::string_view, std::uint64_t>> counters() const override;

    // ---- any thread, under RCU ----
    /// A member has answered, or says so (UDP_GRM_FLOW_ASSURE). Only if there are flows().
    flow_table::outcome answered(registration& by, const endpoint& to, time_point now);

private:
    /// How a packet was taken.
    enum class way : std::uint8_t { established, unseen, expired, bad_cookie, left, too_short, count_ };
    /// One shard's.
    struct alignas(64) lane {
        std::array<counter, std::size_t(way::count_)> ways;
        counter no_working;
    };
    static constexpr std::size_t lanes = 64;
    struct finding {
        way how;
        pcb* who = nullptr;
        std::uint8_t app = 0;
    };
    /// The members by number; a number is (times the place was taken) · 65,536 + place.
    struct place {
        std::atomic<pcb*> who{nullptr};
        std::atomic<flow_table::seat_id> seat{0};
    };
    struct places {
        explicit places(std::uint32_t n) : count(n), all(new place[n]) {}
        const std::uint32_t count;
        const std::unique_ptr<place[]> all;
    };
    struct instance {
        std::uint32_t app, generation;
        auto operator<=>(const instance&) const = default;
    };
    /// Indexes of one of the 32 generations that a cookie can name.
    struct index_pool {
        std::set<std::uint32_t> given_back;
        std::uint32_t next = 0;
        std::uint32_t first() const { return given_back.empty() ? next : *given_back.begin(); }
        void take(std::uint32_t i);
    };

    finding find(const lookup_key& key) const;
    finding find_by_cookie(const grm_cookie& c) const;
    pcb* member(flow_table::seat_id seat) const;
    std::uint32_t cookie_generation(std::uint32_t app, std::uint32_t generation) const;
    std::atomic<flow_table::seat_id>& cookie_seat(std::uint32_t generation, std::uint32_t index) const {
        return cookies_[generation * grm_cookie::indexes + index];
    }
    std::optional<std::uint32_t> take_place();
    void join_instance(pcb& p, registration& r, std::uint32_t generation);
    void leave_instance(pcb& p, registration& r);
    void publish(std::uint32_t app);
    void take_answers(registration& r);

    rcu_domain& rcu_;
    const spread* spread_ = nullptr;
    const dissector dissector_;
    const std::unique_ptr<flow_table> flows_;
    const std::unique_ptr<std::atomic<flow_table::seat_id>[]> cookies_;
    std::atomic<const places*> places_;
    std::array<std::atomic<const member_table*>, UDP_GRM_MAX_APPS> working_{};
    const std::unique_ptr<lane[]> lanes_;
    // writer
    std::array<std::uint32_t, UDP_GRM_MAX_APPS> working_number_{};
    std::map<instance, std::unique_ptr<member_table>> instances_;
    std::array<index_pool, grm_cookie::generations> indexes_;
    std::vector<std::uint32_t> free_places_;
    std::set<const registration*> registered_;
    place_order last_order_ = 0;
    // Of those who left; raised by whoever reclaims.
    std::array<std::atomic<std::uint64_t>, std::size_t(flow_table::outcome::count_)> past_answers_{};
};

}  // namespace skua::udp
