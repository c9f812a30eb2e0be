// One turn of a shard.
#include "shard/shard.hh"

#include "wire/ipv4.hh"

namespace skua::shard {

namespace {

using namespace std::chrono_literals;

constexpr nanoseconds reclaim_every = 1ms;
constexpr std::size_t most_kept = 4096;  // frames of a port, while the intake is held
constexpr std::uint32_t intake_bits = 2;
constexpr unsigned loop_rounds = 4;  // a datagram between local sockets may be answered within the same turn

}  // namespace

shard::shard(const common& shared, shard_options options, std::unique_ptr<random_source> random)
    : index_(options.index),
      burst_(std::min(options.burst, burst_size)),
      pool_(options.pool),
      rcu_(shared.rcu),
      reader_(shared.rcu),
      network_(shared.network),
      mailboxes_(shared.mailboxes),
      ports_(std::move(options.ports)),
      random_(std::move(random)),
      tx_(index_, mailboxes_, ports_, network_.neighbours(), shared.path_mtus, pool_, *random_, counts_),
      icmp_(tx_, *random_, options.icmp),
      reassembly_(tx_, icmp_, *random_, options.reassembly),
      rx_(index_, ports_, network_.neighbours(), shared.path_mtus, shared.tables, shared.hash, reassembly_,
          shared.fragments, shared.marks, icmp_, tx_, pool_, counts_),
      queues_(ports_.all().size()) {
    for (std::size_t i = 0; i < queues_.size(); i++)
        if (ports_.all()[i].device) queues_[i].kept.reserve(most_kept);
}

shard::~shard() {
    for (auto& q : queues_)
        rte_pktmbuf_free_bulk(q.kept.data() + q.next, static_cast<unsigned>(q.kept.size() - q.next));
}

void shard::begin(time_point now) {
    context_.emplace(net::context{network_.current(), now, counts_.mibs, *random_});
    tx_.begin(*context_);
    rx_.begin(*context_);
}

unsigned shard::poll_once(time_point now) {
    reader_.quiescent();
    begin(now);
    if (intake_wanted_.load(std::memory_order_acquire) != intake_order_) follow_intake();
    unsigned moved = poll_ports() + poll_mailboxes();
    if (intake_ != intake::held) moved += poll_looped();
    if (guest* const g = guest_.load(std::memory_order_acquire)) moved += g->poll(*this);
    run_timers(now);
    tx_.flush();
    counts_.polls.add();
    if (moved) counts_.busy_polls.add();
    if (intake_reached_.load(std::memory_order_relaxed) != intake_order_) confirm_intake();
    return moved;
}

void shard::set_intake(intake how) {
    const std::uint32_t number = (intake_wanted_.load(std::memory_order_relaxed) >> intake_bits) + 1;
    intake_wanted_.store(number << intake_bits | static_cast<std::uint32_t>(how), std::memory_order_release);
}

void shard::follow_intake() {
    intake_order_ = intake_wanted_.load(std::memory_order_acquire);
    intake_ = static_cast<intake>(intake_order_ & ((1u << intake_bits) - 1));
    for (std::size_t i = 0; i < queues_.size(); i++) {
        const attachment& at = ports_.all()[i];
        queues_[i].to_drain = intake_ == intake::draining && at.device && at.receives ? at.device->rx_capacity() : 0;
    }
}

void shard::confirm_intake() {
    for (const auto& q : queues_)
        if (q.to_drain != 0) return;
    intake_reached_.store(intake_order_, std::memory_order_release);
}

void shard::keep(std::size_t port, std::span<rte_mbuf*> frames) {
    auto& kept = queues_[port].kept;
    kept.insert(kept.end(), frames.begin(), frames.end());
}

void shard::note_drained(std::size_t port, unsigned taken) {
    auto& left = queues_[port].to_drain;
    left = taken < burst_ ? 0 : left - std::min(left, taken);
}

/// Kept frames come before those that are still in the queue.
unsigned shard::poll_ports() {
    unsigned moved = 0;
    for (std::size_t i = 0; i < queues_.size(); i++) {
        const attachment& at = ports_.all()[i];
        if (at.device == nullptr || !at.receives) continue;
        queue_state& q = queues_[i];
        rte_mbuf* frames[burst_size];
        if (intake_ != intake::held && q.next < q.kept.size()) {
            const std::size_t n = std::min<std::size_t>(burst_, q.kept.size() - q.next);
            rx_.receive(std::span(q.kept).subspan(q.next, n));
            q.next += n;
            moved += static_cast<unsigned>(n);
            if (q.next == q.kept.size()) q.kept.clear(), q.next = 0;
            continue;
        }
        const bool hold = intake_ == intake::held;
        if (hold && q.kept.size() + burst_ > most_kept) continue;
        const unsigned n = at.device->rx(at.queue, std::span(frames, burst_));
        if (q.to_drain != 0) note_drained(i, n);
        // Some drivers (net_ring) pass packets on without saying whose they are.
        for (unsigned j = 0; j < n; j++) frames[j]->port = at.port_id;
        if (n && hold) keep(i, std::span(frames, n));
        else if (n) rx_.receive(std::span(frames, n));
        moved += n;
    }
    return moved;
}

unsigned shard::poll_mailboxes() {
    unsigned moved = 0;
    for (unsigned from = 0; from < mailboxes_.shards(); from++) {
        if (from == index_ && intake_ == intake::held) continue;
        rte_mbuf* packets[burst_size];
        const unsigned n = mailboxes_.ring(from, index_).pop(packets);
        if (n == 0) continue;
        if (from == index_) {
            socket::uncharge(std::span(packets, n));
            count_sent(std::span(packets, n));
        }
        rx_.receive_handed_over(std::span(packets, n));
        moved += n;
    }
    return moved;
}

unsigned shard::poll_looped() {
    unsigned moved = 0;
    rte_mbuf* datagrams[burst_size];
    for (unsigned round = 0; round < loop_rounds; round++) {
        const unsigned n = tx_.take_looped(datagrams);
        if (n == 0) break;
        rx_.receive_looped(std::span(datagrams, n));
        moved += n;
    }
    return moved;
}

void shard::run_timers(time_point now) {
    reassembly_.tick(*context_);
    if (index_ != 0) return;
    // The first shard owns the neighbour machine and sweeps what writers have retired.
    network_.neighbours().tick(*context_, tx_);
    if (now < next_reclaim_) return;
    next_reclaim_ = now + reclaim_every;
    rcu_.reclaim();
}

unsigned shard::input(std::span<rte_mbuf*> frames, rte_mbuf** unclaimed, time_point now) {
    reader_.quiescent();
    begin(now);
    unclaimed_frames back{unclaimed, 0};
    for (std::size_t done = 0; done < frames.size(); done += burst_size)
        rx_.receive(frames.subspan(done, std::min<std::size_t>(burst_size, frames.size() - done)),
                    unclaimed ? &back : nullptr);
    poll_looped();
    tx_.flush();
    return back.count;
}

void shard::send(packet::packet datagram, std::uint32_t out_ifindex) {
    rte_mbuf* const one = datagram.get();
    count_sent(std::span(&one, 1));
    tx_.output(std::move(datagram), out_ifindex);
}

void shard::count_sent(std::span<rte_mbuf* const> datagrams) {
    std::uint64_t v4 = 0;
    for (const rte_mbuf* m : datagrams) v4 += rte_pktmbuf_mtod(m, const wire::ipv4_header*)->version() == 4;
    counts_.datagrams_out.add(datagrams.size());
    counts_.mibs.add(mib::udp_out_datagrams, v4);
    counts_.mibs.add(mib::udp6_out_datagrams, datagrams.size() - v4);
}

}  // namespace skua::shard
