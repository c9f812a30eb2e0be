// Bringing a port up, and what the control side does with it afterwards.
#include "port/port.hh"

#include <fmt/format.h>
#include <rte_ether.h>
#include <rte_errno.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "port/dpdk_compat.hh"

namespace skua::port {

namespace {

std::string failure(std::string_view call, int code) { return fmt::format("{}: {}", call, rte_strerror(-code)); }

/// A table of `size` entries in the groups that ethdev wants.
std::vector<rte_eth_rss_reta_entry64> reta_groups(std::size_t size) {
    return std::vector<rte_eth_rss_reta_entry64>((size + RTE_ETH_RETA_GROUP_SIZE - 1) / RTE_ETH_RETA_GROUP_SIZE);
}

std::string_view text_of(place p) {
    switch (p) {
        case place::hardware: return "hardware";
        case place::software: return "software";
        default: return "off";
    }
}

}  // namespace

port::port(std::uint16_t id, const rte_eth_dev_info& info)
    : id_(id), info_(info), driver_(info.driver_name ? info.driver_name : "?"), numa_node_(rte_eth_dev_socket_id(id)) {
    std::array<char, RTE_ETH_NAME_MAX_LEN> name{};
    if (rte_eth_dev_get_name_by_port(id, name.data()) == 0) name_ = name.data();
}

port::~port() {
    unwatch();
    if (!started_ || closed_) return;
    stop();
    rte_eth_dev_close(id_);
}

tl::expected<std::unique_ptr<port>, std::string> port::start(std::uint16_t id, const port_options& options,
                                                             std::span<rte_mempool* const> pools,
                                                             random_source& random) {
    const auto refuse = [id](const std::string& why) { return tl::unexpected(fmt::format("port {}: {}", id, why)); };
    rte_eth_dev_info info{};
    if (const int e = rte_eth_dev_info_get(id, &info); e != 0) return refuse(failure("no such device", e));
    if (options.queues == 0) return refuse("no queues asked for");
    if (options.rss.key == rss_options::key_kind::given && options.rss.given_key.size() < toeplitz::key_bytes)
        return refuse(fmt::format("an RSS key has at least {} bytes", toeplitz::key_bytes));
    if (pools.size() != 1 && pools.size() < std::min(options.queues, info.max_rx_queues))
        return refuse("one packet pool, or one for each queue, is needed");
    std::uint32_t buffer_room = UINT32_MAX;
    for (rte_mempool* p : pools) buffer_room = std::min<std::uint32_t>(buffer_room, rte_pktmbuf_data_room_size(p));
    if (buffer_room <= RTE_PKTMBUF_HEADROOM) return refuse("packet buffers have no room beyond the headroom");

    std::unique_ptr<port> p(new port(id, info));
    const std::string why = p->bring_up(options, pools, buffer_room - RTE_PKTMBUF_HEADROOM, random);
    if (!why.empty()) return refuse(why);
    return p;
}

std::string port::bring_up(const port_options& options, std::span<rte_mempool* const> pools, std::uint32_t buffer_room,
                           random_source& random) {
    buffer_room_ = buffer_room;
    const request full = make_request(info_, options, buffer_room, random, notes_);
    std::uint16_t mtu_at_first = 0;
    rte_eth_dev_get_mtu(id_, &mtu_at_first);
    watch();
    std::string why = try_start(full, pools);
    if (!why.empty()) {
        const std::string first = why;
        const auto retry = [&](const request& less, std::string_view what) {
            if (why.empty() || less == full) return;
            why = try_start(less, pools);
            if (why.empty())
                notes_.push_back(fmt::format("the driver refused ({}) and started without {}", first, what));
        };
        for (const relaxation& one : relaxations()) {
            request less = full;
            one.apply(less);
            retry(less, one.what);
        }
        request less = full;
        for (const relaxation& one : relaxations()) {
            one.apply(less);
            retry(less, fmt::format("{}, and whatever matters less", one.what));
        }
    }
    if (!why.empty()) return why;

    refused_ = std::make_unique<refused_counter[]>(asked_.tx_queues);
    offloads_ = {.ipv4_checksum = (asked_.tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0,
                 .udp_checksum = (asked_.tx_offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM) != 0,
                 .multi_segment = (asked_.tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0};
    const std::uint16_t most = info_.tx_desc_lim.nb_mtu_seg_max;
    if (offloads_.multi_segment) offloads_.max_segments = most ? most : UINT16_MAX;
    // Which drivers have something to do between the checksum request and the ring (virtio, e1000, vmxnet3, ..) is for
    // rte_eth_tx_prepare to know; for the others it is one test of a pointer.
    prepare_ = offloads_.ipv4_checksum || offloads_.udp_checksum;
    set_mac(options, random);
    open_filters(options.promiscuous);
    settle_mtu(mtu_at_first);
    settle_rss(options, random);
    link();
    return {};
}

std::string port::try_start(const request& r, std::span<rte_mempool* const> pools) {
    rte_eth_conf conf{};
    conf.rxmode.mtu = r.mtu;
    conf.rxmode.offloads = r.rx_offloads;
    conf.txmode.offloads = r.tx_offloads;
    conf.intr_conf.lsc = r.link_interrupt;
    conf.intr_conf.rmv = r.removal_interrupt;
    std::vector<std::uint8_t> key = r.rss_key;
    if (r.rss_fields) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        auto& rss = conf.rx_adv_conf.rss_conf;
        rss.rss_hf = r.rss_fields;
        // A device that tells no length may still want none; the key is then set once it runs.
        if (!key.empty() && info_.hash_key_size != 0) {
            rss.rss_key = key.data();
            rss.rss_key_len = static_cast<std::uint8_t>(key.size());
        }
        compat::choose_toeplitz(rss, info_);
    }
    if (const int e = rte_eth_dev_configure(id_, r.rx_queues, r.tx_queues, &conf); e != 0)
        return failure("configure", e);
    asked_ = r;
    if (std::string why = set_up_queues(r, pools); !why.empty()) return why;
    if (const int e = rte_eth_dev_start(id_); e != 0) return failure("start", e);
    started_ = true;
    return {};
}

std::string port::set_up_queues(const request& r, std::span<rte_mempool* const> pools) {
    if (r.rx_descriptors != 0) {
        const auto adjusted = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &asked_.rx_descriptors, &asked_.tx_descriptors);
        if (adjusted != 0 && adjusted != -ENOTSUP) return failure("descriptors", adjusted);
    }
    const int node = numa_node_;
    rte_eth_rxconf rx = info_.default_rxconf;
    rx.offloads = r.rx_offloads;
    for (std::uint16_t q = 0; q < r.rx_queues; q++) {
        rte_mempool* pool = pools.size() == 1 ? pools[0] : pools[q];
        const int e = rte_eth_rx_queue_setup(id_, q, asked_.rx_descriptors, static_cast<unsigned>(node), &rx, pool);
        if (e != 0) return failure(fmt::format("RX queue {}", q), e);
    }
    rte_eth_txconf tx = info_.default_txconf;
    tx.offloads = r.tx_offloads;
    for (std::uint16_t q = 0; q < r.tx_queues; q++) {
        const int e = rte_eth_tx_queue_setup(id_, q, asked_.tx_descriptors, static_cast<unsigned>(node), &tx);
        if (e != 0) return failure(fmt::format("TX queue {}", q), e);
    }
    return {};
}

void port::set_mac(const port_options& options, random_source& random) {
    rte_ether_addr address{};
    rte_eth_macaddr_get(id_, &address);
    std::memcpy(mac_.bytes.data(), address.addr_bytes, 6);
    mac_address wanted = options.mac.value_or(mac_);
    if (wanted.is_zero()) {
        // Software devices without an address: one of the locally administered range (IEEE 802 §8.4).
        const std::uint64_t bits = random.next();
        std::memcpy(wanted.bytes.data(), &bits, 6);
        wanted.bytes[0] = 0x02;
        notes_.push_back("MAC: the device has none, one was made up");
    }
    if (wanted == mac_) return;
    mac_ = wanted;
    std::memcpy(address.addr_bytes, wanted.bytes.data(), 6);
    if (rte_eth_dev_default_mac_addr_set(id_, &address) == 0 || rte_eth_dev_mac_addr_add(id_, &address, 0) == 0) return;
    rte_eth_promiscuous_enable(id_);
    notes_.push_back("MAC: the driver does not let it be changed; the port is promiscuous instead");
}

void port::open_filters(bool promiscuous) {
    // Neighbour discovery and multicast receivers need groups that come and go: all of them, checked in software.
    rte_eth_allmulticast_enable(id_);
    const bool groups = rte_eth_allmulticast_get(id_) == 1;
    if (promiscuous || !groups) rte_eth_promiscuous_enable(id_);
    const bool everything = rte_eth_promiscuous_get(id_) == 1;
    if (promiscuous && !everything) notes_.push_back("promiscuous: the driver does not offer it");
    if (!groups)
        notes_.push_back(everything ? "multicast: only by way of promiscuous mode"
                                    : "multicast: the driver has no filter to open; it may deliver all or none");
}

void port::settle_mtu(std::uint16_t at_first) {
    mtu_ = asked_.mtu;
    std::uint16_t told = 0;
    if (rte_eth_dev_get_mtu(id_, &told) != 0) return;
    // Some drivers (net_tap, net_af_packet) leave their interface as it was until this call, whatever ethdev says.
    const int e = told == mtu_ && told == at_first ? 0 : rte_eth_dev_set_mtu(id_, mtu_);
    if (e == 0 || (told == mtu_ && e != -ENOTSUP)) return;
    if (e == -ENOTSUP) return note_software_mtu();
    notes_.push_back(fmt::format("MTU: the driver keeps {} ({})", told, rte_strerror(-e)));
    mtu_ = told;
}

void port::note_software_mtu() {
    constexpr std::string_view note = "MTU: the driver cannot set it; it is kept in software";
    if (std::find(notes_.begin(), notes_.end(), note) == notes_.end()) notes_.emplace_back(note);
}

bool port::read_rss(outcome& got) {
    // Larger than any driver's key: some copy theirs without looking at the length.
    std::array<std::uint8_t, 128> bytes{};
    rte_eth_rss_conf conf{};
    conf.rss_key = bytes.data();
    conf.rss_key_len = bytes.size();
    if (rte_eth_dev_rss_hash_conf_get(id_, &conf) != 0) return false;
    got.rss_fields = conf.rss_hf;
    const std::size_t length = info_.hash_key_size ? info_.hash_key_size : toeplitz::key_bytes;
    const bool told = std::any_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b != 0; });
    if (!told || length < toeplitz::key_bytes || length > bytes.size() || !compat::is_toeplitz(conf)) return false;
    key_.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    return true;
}

void port::settle_rss(const port_options& options, random_source& random) {
    outcome got;
    bool key_known = false;
    if (asked_.rss_fields) {
        key_known = read_rss(got);
        if (key_known && !asked_.rss_key.empty() && key_ != asked_.rss_key) {
            std::vector<std::uint8_t> key = asked_.rss_key;
            rte_eth_rss_conf conf{};
            conf.rss_key = key.data();
            conf.rss_key_len = static_cast<std::uint8_t>(key.size());
            conf.rss_hf = asked_.rss_fields;
            compat::choose_toeplitz(conf, info_);
            rte_eth_dev_rss_hash_update(id_, &conf);
            key_known = read_rss(got);
            if (key_known && key_ != asked_.rss_key)
                notes_.push_back("RSS: the driver keeps its own key, which is used then");
        }
        if (!key_known) notes_.push_back("RSS: the driver does not tell its key; hashes are computed in software");
    }
    if (!key_known) {
        // Most likely the device hashes with the key it was given, even if it does not say so.
        const bool given = asked_.rss_key.size() >= toeplitz::key_bytes;
        key_ = given ? asked_.rss_key : make_rss_key(options.rss, toeplitz::key_bytes, random);
    }
    hash_ = std::make_unique<const toeplitz>(key_);

    const bool usable = key_known && (asked_.rx_offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH);
    got.hash_v4 = hash_v4_ = usable && (got.rss_fields & RTE_ETH_RSS_NONFRAG_IPV4_UDP);
    got.hash_v6 = hash_v6_ = usable && (got.rss_fields & RTE_ETH_RSS_NONFRAG_IPV6_UDP);
    spread_v4_ = key_known && (got.rss_fields & RTE_ETH_RSS_NONFRAG_IPV4_UDP);
    spread_v6_ = key_known && (got.rss_fields & RTE_ETH_RSS_NONFRAG_IPV6_UDP);
    settle_reta(got);
    capabilities_ = capability_table(info_, options, asked_, got);
}

void port::settle_reta(outcome& got) {
    got.reta_size = info_.reta_size;
    reta_room_ = info_.reta_size;
    if (!asked_.rss_fields || reta_room_ == 0) return;
    reta_ = std::make_unique<std::atomic<std::uint16_t>[]>(reta_room_);
    std::vector<std::uint16_t> all(asked_.rx_queues);
    for (std::uint16_t q = 0; q < asked_.rx_queues; q++) all[q] = q;
    const auto steered = steer_to(all);
    got.reta_set = steered.has_value();
    if (steered) return;
    const auto now = reta();
    const bool stray = std::any_of(now.begin(), now.end(), [&](auto q) { return q >= asked_.rx_queues; });
    notes_.push_back(fmt::format("RETA: {}{}", rte_strerror(steered.error().code),
                                 stray ? "; some packets go to queues that nobody polls" : ""));
}

std::vector<std::uint16_t> port::read_reta() {
    auto groups = reta_groups(info_.reta_size);
    for (auto& g : groups) g.mask = ~0ull;
    if (rte_eth_dev_rss_reta_query(id_, groups.data(), info_.reta_size) != 0) return {};
    std::vector<std::uint16_t> table;
    for (std::size_t i = 0; i < info_.reta_size; i++)
        table.push_back(groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE]);
    return table;
}

void port::note_reta(const std::vector<std::uint16_t>& table) {
    for (std::size_t i = 0; i < table.size(); i++) reta_[i].store(table[i], std::memory_order_relaxed);
    reta_size_.store(static_cast<std::uint32_t>(table.size()), std::memory_order_release);
}

std::vector<std::uint16_t> port::reta() const {
    std::vector<std::uint16_t> table(reta_size_.load(std::memory_order_acquire));
    for (std::size_t i = 0; i < table.size(); i++) table[i] = reta_[i].load(std::memory_order_relaxed);
    return table;
}

result<void> port::steer(std::span<const std::uint16_t> table) {
    if (gone()) return fail(ENODEV);
    if (table.empty() || std::any_of(table.begin(), table.end(), [&](auto q) { return q >= rx_queues(); }))
        return fail(EINVAL);
    if (reta_room_ == 0 || (!asked_.rss_fields && !move_)) return fail(ENOTSUP);
    std::vector<std::uint16_t> wanted(reta_room_);
    for (std::size_t i = 0; i < wanted.size(); i++) wanted[i] = table[i % table.size()];
    if (move_) {
        if (const auto moved = move_(wanted); !moved) return moved;
        note_reta(wanted);
        return {};
    }
    auto groups = reta_groups(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); i++) {
        auto& group = groups[i / RTE_ETH_RETA_GROUP_SIZE];
        group.mask |= 1ull << i % RTE_ETH_RETA_GROUP_SIZE;
        group.reta[i % RTE_ETH_RETA_GROUP_SIZE] = wanted[i];
    }
    const int e = rte_eth_dev_rss_reta_update(id_, groups.data(), info_.reta_size);
    const auto told = read_reta();
    // A driver that takes the table but does not tell it is believed.
    note_reta(told.empty() && e == 0 ? wanted : told);
    if (e != 0) return fail(-e);
    if (!told.empty() && told != wanted) return fail(EIO);
    return {};
}

void port::spread_by(std::size_t entries, std::function<result<void>(std::span<const std::uint16_t>)> move) {
    reta_size_.store(0, std::memory_order_release);
    reta_ = std::make_unique<std::atomic<std::uint16_t>[]>(entries);
    reta_room_ = entries;
    move_ = std::move(move);
    spread_v4_ = spread_v6_ = true;
    std::vector<std::uint16_t> all(rx_queues());
    for (std::uint16_t q = 0; q < all.size(); q++) all[q] = q;
    (void)steer(all);
}

link_state port::link() {
    rte_eth_link now{};
    if (gone() || rte_eth_link_get_nowait(id_, &now) != 0) {
        up_ = false;
        return {};
    }
    up_ = now.link_status == RTE_ETH_LINK_UP;
    return {.up = up(),
            .mbps = now.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : now.link_speed,
            .full_duplex = now.link_duplex == RTE_ETH_LINK_FULL_DUPLEX};
}

result<void> port::set_mtu(std::uint16_t mtu) {
    if (gone()) return fail(ENODEV);
    if (mtu < std::max<std::uint16_t>(info_.min_mtu, RTE_ETHER_MIN_MTU) || (info_.max_mtu && mtu > info_.max_mtu))
        return fail(EINVAL);
    const bool scatters = asked_.rx_offloads & RTE_ETH_RX_OFFLOAD_SCATTER;
    if (!scatters && mtu + frame_overhead(info_) > buffer_room_) return fail(EINVAL);
    const int e = rte_eth_dev_set_mtu(id_, mtu);
    if (e != 0 && e != -ENOTSUP) return fail(-e);
    if (e == -ENOTSUP) note_software_mtu();
    mtu_ = mtu;
    return {};
}

result<port_stats> port::stats() const {
    rte_eth_stats s{};
    if (gone()) return fail(ENODEV);
    if (const int e = rte_eth_stats_get(id_, &s); e != 0) return fail(-e);
    port_stats out{.rx_packets = s.ipackets,
                   .rx_bytes = s.ibytes,
                   .tx_packets = s.opackets,
                   .tx_bytes = s.obytes,
                   .rx_missed = s.imissed,
                   .rx_errors = s.ierrors,
                   .rx_no_mbuf = s.rx_nombuf,
                   .tx_errors = s.oerrors,
                   .tx_refused = 0};
    for (std::uint16_t q = 0; q < tx_queues(); q++) out.tx_refused += refused_[q].count.get();
    return out;
}

std::vector<std::pair<std::string, std::uint64_t>> port::xstats() const {
    const int count = gone() ? 0 : rte_eth_xstats_get_names(id_, nullptr, 0);
    if (count <= 0) return {};
    std::vector<rte_eth_xstat_name> names(static_cast<std::size_t>(count));
    std::vector<rte_eth_xstat> values(names.size());
    if (rte_eth_xstats_get_names(id_, names.data(), static_cast<unsigned>(count)) != count) return {};
    const int got = rte_eth_xstats_get(id_, values.data(), static_cast<unsigned>(count));
    std::vector<std::pair<std::string, std::uint64_t>> out;
    for (int i = 0; i < std::min(got, count); i++) {
        const auto& v = values[static_cast<std::size_t>(i)];
        if (v.id < names.size()) out.emplace_back(names[v.id].name, v.value);
    }
    return out;
}

unsigned port::tx_prepared(std::uint16_t queue, std::span<rte_mbuf*> packets) {
    unsigned taken = 0;
    while (taken < packets.size()) {
        const auto left = packets.subspan(taken);
        const std::uint16_t good = rte_eth_tx_prepare(id_, queue, left.data(), static_cast<std::uint16_t>(left.size()));
        const std::uint16_t sent = good == 0 ? 0 : rte_eth_tx_burst(id_, queue, left.data(), good);
        taken += sent;
        if (sent < good || good == left.size()) break;
        // Tried again it would be refused again, and nothing behind it could leave.
        rte_pktmbuf_free(left[good]);
        refused_[queue].count.add();
        taken++;
    }
    return taken;
}

void port::stop() {
    if (started_ && !closed_) rte_eth_dev_stop(id_);
    up_ = false;
}

namespace {

constexpr std::array<rte_eth_event_type, 3> watched{RTE_ETH_EVENT_INTR_LSC, RTE_ETH_EVENT_INTR_RMV,
                                                    RTE_ETH_EVENT_DESTROY};

}  // namespace

void port::watch() {
    for (const auto event : watched) rte_eth_dev_callback_register(id_, event, on_event, this);
}

void port::unwatch() {
    // By way of all ports, since the id of a closed one is refused although its callbacks are still kept. -EAGAIN: one
    // of them is running.
    for (const auto event : watched)
        while (rte_eth_dev_callback_unregister(RTE_ETH_ALL, event, on_event, this) == -EAGAIN) rte_pause();
}

int port::on_event(std::uint16_t id, rte_eth_event_type type, void* self, void*) {
    port& p = *static_cast<port*>(self);
    if (type == RTE_ETH_EVENT_INTR_LSC) {
        rte_eth_link now{};
        if (rte_eth_link_get_nowait(id, &now) == 0) p.up_ = now.link_status == RTE_ETH_LINK_UP;
        return 0;
    }
    if (type == RTE_ETH_EVENT_DESTROY) p.closed_ = true;
    p.gone_ = true;
    p.up_ = false;
    return 0;
}

std::string port::describe() const {
    const std::string_view link = gone() ? "gone" : up() ? "link up" : "link down";
    std::string out = fmt::format("port {}: {} ({}), MAC {}, {}\n", id_, name_, driver_, to_string(mac_), link);
    const auto line = [&](std::string_view what, std::string_view value, std::string_view note) {
        out += fmt::format("  {:<26}{:<14}{}", what, value, note);
        out.erase(out.find_last_not_of(' ') + 1);
        out += '\n';
    };
    line("queues", fmt::format("{} / {}", rx_queues(), tx_queues()), "RX / TX");
    line("descriptors", fmt::format("{} / {}", asked_.rx_descriptors, asked_.tx_descriptors), "RX / TX of each queue");
    line("MTU", fmt::format("{}", mtu_), "");
    for (const auto& row : capabilities_) line(row.what, text_of(row.where), row.note);
    for (const auto& note : notes_) out += fmt::format("  note: {}\n", note);
    return out;
}

}  // namespace skua::port
