// nic-guest: the stack on a device of a virtual machine, told what to do line by line. One thread polls all shards, so
// that few emulated CPUs will do and every step is the test's.
//
// On stdin commands, on stdout lines of answer and then "= ok" or "= failed: WHY":
//   open NAME ADDRESS PORT [home=N] [reuseport] [connect=ADDRESS:PORT]   a socket that echoes
//   close NAME
//   move W0,W1,...     each shard gets so many parts of the flows; answered when it is done
//   follow             the same with the members of the largest group
//   send FROM TO PORT FLOWS EACH   datagrams from the guest's kernel (another end of a TAP), a port for each flow
//   explain LOCAL,REMOTE
//   report             JSON: sockets, flows, ports
//   forget             what was counted of sockets and flows
//   shell COMMAND      its output
//   quit
#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <rte_ethdev.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <list>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <tuple>

#include "control/command_line.hh"
#include "control/eal.hh"
#include "control/explain.hh"
#include "control/json.hh"
#include "control/stack.hh"
#include "control/statistics.hh"
#include "wire/ethernet.hh"
#include "wire/ipv4.hh"
#include "wire/ipv6.hh"
#include "wire/udp.hh"

namespace {

using namespace skua;

/// What the device said of the packets of a flow.
struct arrivals {
    flow_key flow;
    std::uint64_t datagrams = 0;
    std::uint16_t queue = 0;  // the last one's
    bool moved = false;       // they came by several
    std::optional<std::uint32_t> hash;
};
/// Local and remote port: no two flows of the tests have both in common.
using flow_name = std::tuple<ip_family, std::uint16_t, std::uint16_t>;

struct echoing {
    std::string name;
    socket::udp_socket_ptr socket;
    std::uint64_t received = 0;
    std::map<std::uint16_t, std::uint64_t> by_queue;
};

/// Datagrams begin with a number of 32 bits, counted by flow from 1.
struct numbers {
    std::uint32_t last = 0;
    std::uint64_t received = 0;
};

class failure : public std::runtime_error {
    using runtime_error::runtime_error;
};

std::uint64_t number(std::string_view text) {
    std::uint64_t n = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (problem != std::errc{} || end != text.data() + text.size()) throw failure(fmt::format("no number: {}", text));
    return n;
}

ip_address address(std::string_view text) {
    const auto a = ip_address::parse(text);
    if (!a) throw failure(fmt::format("no address: {}", text));
    return *a;
}

class guest {
public:
    explicit guest(std::unique_ptr<control::stack> s) : stack_(std::move(s)) {
        for (const auto& p : stack_->ports())
            for (std::uint16_t q = 0; q < p->rx_queues(); q++)
                rte_eth_add_rx_callback(p->id(), q, &guest::came_in, this);
    }
    void run();

private:
    static std::uint16_t came_in(std::uint16_t port, std::uint16_t queue, rte_mbuf** frames, std::uint16_t n,
                                 std::uint16_t most, void* self);
    void note(std::uint16_t queue, const rte_mbuf& m);
    void turn();
    void echo(echoing& e);
    void check_order(const flow_name& name, const char* data, std::size_t length);
    void obey(const std::string& line);
    void open(std::istringstream& words);
    void send(std::istringstream& words);
    void shell(const std::string& command);
    void begin(std::vector<std::uint32_t> weights);
    std::string report() const;

    std::unique_ptr<control::stack> stack_;
    std::list<echoing> sockets_;
    std::map<flow_name, arrivals> flows_;
    std::map<flow_name, numbers> numbers_;
    std::uint64_t disorder_ = 0;
    std::vector<int> peers_;
    bool moving_ = false;
    bool over_ = false;
};

void say(const std::string& text) {
    fmt::print("{}\n", text);
    std::fflush(stdout);
}

std::uint16_t guest::came_in(std::uint16_t, std::uint16_t queue, rte_mbuf** frames, std::uint16_t n, std::uint16_t,
                             void* self) {
    for (std::uint16_t i = 0; i < n; i++) static_cast<guest*>(self)->note(queue, *frames[i]);
    return n;
}

void guest::note(std::uint16_t queue, const rte_mbuf& m) {
    const auto* const frame = rte_pktmbuf_mtod(&m, const std::byte*);
    const auto type = std::uint16_t(frame[12]) << 8 | std::uint16_t(frame[13]);
    const auto* const ip = frame + 14;
    arrivals a;
    const wire::udp_header* udp = nullptr;
    if (type == 0x0800 && std::uint8_t(ip[0]) == 0x45 && std::uint8_t(ip[9]) == IPPROTO_UDP) {
        const auto& h = *reinterpret_cast<const wire::ipv4_header*>(ip);
        udp = reinterpret_cast<const wire::udp_header*>(ip + 20);
        a.flow = {ip_address(h.destination), ip_address(h.source), 0, 0};
    } else if (type == 0x86dd && std::uint8_t(ip[6]) == IPPROTO_UDP) {
        const auto& h = *reinterpret_cast<const wire::ipv6_header*>(ip);
        udp = reinterpret_cast<const wire::udp_header*>(ip + 40);
        a.flow = {ip_address(h.destination), ip_address(h.source), 0, 0};
    } else {
        return;
    }
    a.flow.local_port = udp->destination_port.host();
    a.flow.remote_port = udp->source_port.host();
    auto& known = flows_[{a.flow.local.family(), a.flow.local_port, a.flow.remote_port}];
    known.flow = a.flow;
    known.moved |= known.datagrams++ != 0 && known.queue != queue;
    known.queue = queue;
    if (m.ol_flags & RTE_MBUF_F_RX_RSS_HASH) known.hash = m.hash.rss;
}

void guest::check_order(const flow_name& name, const char* data, std::size_t length) {
    std::uint32_t sent = 0;
    if (length < sizeof sent) return;
    std::memcpy(&sent, data, sizeof sent);
    sent = ntohl(sent);
    auto& flow = numbers_[name];
    disorder_ += sent != flow.last + 1;
    flow.last = sent;
    flow.received++;
}

void guest::echo(echoing& e) {
    for (;;) {
        char data[65536];
        sockaddr_storage from{};
        socklen_t from_length = sizeof from;
        auto* const peer = reinterpret_cast<sockaddr*>(&from);
        const auto got = e.socket->recvfrom(data, sizeof data, MSG_DONTWAIT, peer, &from_length);
        if (!got) return;
        e.received++;
        const auto port = ntohs(from.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(from).sin_port
                                                          : reinterpret_cast<sockaddr_in6&>(from).sin6_port);
        const auto family = from.ss_family == AF_INET ? ip_family::v4 : ip_family::v6;
        const flow_name name{family, e.socket->local_endpoint().port, port};
        e.by_queue[flows_[name].queue]++;
        check_order(name, data, *got);
        (void)e.socket->sendto(data, *got, MSG_DONTWAIT, peer, from_length);
    }
}

void guest::turn() {
    for (unsigned i = 0; i < stack_->shard_count(); i++) stack_->shard_at(i).poll_once(stack_->now());
    for (auto& e : sockets_) echo(e);
    if (!moving_ || !stack_->steering().advance(stack_->now())) return;
    moving_ = false;
    const auto how = stack_->steering().outcome();
    say(how ? "= ok" : fmt::format("= failed: {}", strerrordesc_np(how.error().code)));
}

void guest::open(std::istringstream& words) {
    echoing e;
    std::string local, port, option;
    words >> e.name >> local >> port;
    const auto at = address(local);
    auto made = socket::udp_socket::create(*stack_, at.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM, 0, {0});
    if (!made) throw failure(strerrordesc_np(made.error().code));
    e.socket = std::move(*made);
    const auto on = [&](int level, int name, int value) {
        if (const auto done = e.socket->setsockopt(level, name, &value, sizeof value); !done)
            throw failure(strerrordesc_np(done.error().code));
    };
    if (!at.is_v4()) on(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    on(SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20);
    std::optional<endpoint> peer;
    while (words >> option) {
        const auto value = option.substr(std::min(option.find('=') + 1, option.size()));
        if (option == "reuseport") {
            on(SOL_SOCKET, SO_REUSEPORT, 1);
        } else if (option.starts_with("home=")) {
            e.socket->home_shard = static_cast<std::uint16_t>(number(value));
            e.socket->home_fixed = true;
        } else if (option.starts_with("connect=")) {
            const auto colon = value.rfind(':');
            peer = {address(value.substr(0, colon)), static_cast<std::uint16_t>(number(value.substr(colon + 1))), 0};
        } else {
            throw failure("no such option: " + option);
        }
    }
    auto done = e.socket->bind(endpoint{at, static_cast<std::uint16_t>(number(port)), 0});
    if (done && peer) done = e.socket->connect(*peer);
    if (!done) throw failure(strerrordesc_np(done.error().code));
    sockets_.push_back(std::move(e));
}

void guest::send(std::istringstream& words) {
    constexpr std::uint16_t first_port = 20000;
    std::string from, to, port, flows, each;
    words >> from >> to >> port >> flows >> each;
    const auto name = [](const std::string& host, std::uint64_t at) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(static_cast<std::uint16_t>(at));
        inet_pton(AF_INET, host.c_str(), &a.sin_addr);
        return a;
    };
    for (auto i = peers_.size(); i < number(flows); i++) {
        const auto local = name(from, first_port + i);
        const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        peers_.push_back(fd);
        if (::bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0)
            throw failure(fmt::format("bind: {}", strerrordesc_np(errno)));
    }
    const auto remote = name(to, number(port));
    for (std::uint64_t n = 0; n < number(each); n++)
        for (std::size_t i = 0; i < number(flows); i++) {
            const std::uint32_t counted = htonl(static_cast<std::uint32_t>(n + 1));
            ::sendto(peers_[i], &counted, sizeof counted, 0, reinterpret_cast<const sockaddr*>(&remote), sizeof remote);
            turn();
        }
}

void guest::shell(const std::string& command) {
    std::fflush(stdout);
    FILE* const out = popen((command + " 2>&1").c_str(), "r");
    if (out == nullptr) throw failure(strerrordesc_np(errno));
    char line[4096];
    while (std::fgets(line, sizeof line, out)) fmt::print("{}", line);
    if (const int code = pclose(out); code != 0) throw failure(fmt::format("exit code {}", WEXITSTATUS(code)));
}

void guest::begin(std::vector<std::uint32_t> weights) {
    if (const auto begun = stack_->steering().begin(std::move(weights)); !begun) {
        const auto why = stack_->steering().obstacle();
        throw failure(why.empty() ? strerrordesc_np(begun.error().code) : why);
    }
    moving_ = true;
}

std::string guest::report() const {
    control::json_writer w;
    const auto& nic = *stack_->ports().front();
    const auto rules = stack_->offload().counted(0);
    control::counters_snapshot counted;
    std::uint64_t crossed = 0, marked = 0;
    for (unsigned i = 0; i < stack_->shard_count(); i++) {
        counted.add(stack_->shard_at(i).counts().drops, stack_->shard_at(i).counts().mibs);
        crossed += stack_->shard_at(i).counts().handed_over.get();
        marked += stack_->shard_at(i).counts().marked.get();
    }
    w.object([&] {
        w.key("queues").value(nic.rx_queues()).key("crossed").value(crossed).key("marked").value(marked);
        w.key("rules").value(rules.installed).key("rules_refused").value(rules.refused);
        w.key("active").value(stack_->active_shards());
        w.key("drops").object([&] {
            for (const auto& d : drop_reasons)
                if (const auto n = counted[d.reason]; n != 0 && d.reason != drop_reason::none) w.key(d.name).value(n);
        });
        w.key("disorder").value(disorder_).key("not_aligned").value(stack_->steering().not_aligned());
        w.key("missed").value(nic.stats() ? nic.stats()->rx_missed : 0);
        w.key("reta").array([&] {
            for (const auto q : nic.reta()) w.value(q);
        });
        w.key("sockets").object([&] {
            for (const auto& e : sockets_)
                w.key(e.name).object([&] {
                    w.key("home").value(e.socket->home_shard.load()).key("received").value(e.received);
                    w.key("by_queue").object([&] {
                        for (const auto& [queue, n] : e.by_queue) w.key(fmt::to_string(queue)).value(n);
                    });
                });
        });
        w.key("received").object([&] {
            for (const auto& [flow, n] : numbers_)
                w.key(fmt::format("{} {}", std::get<1>(flow), std::get<2>(flow))).value(n.received);
        });
        w.key("flows").array([&] {
            for (const auto& [name, a] : flows_)
                w.object([&] {
                    const auto ours = nic.hash()(a.flow);
                    w.key("remote").value(a.flow.remote.to_string()).key("remote_port").value(a.flow.remote_port);
                    w.key("local_port").value(a.flow.local_port).key("datagrams").value(a.datagrams);
                    w.key("queue").value(a.queue).key("moved").value(a.moved).key("ours").value(ours);
                    w.key("expected_queue").value(nic.queue_of(ours));
                    if (a.hash) w.key("hash").value(*a.hash);
                });
        });
    });
    return w.text();
}

void guest::obey(const std::string& line) {
    std::istringstream words(line);
    std::string command, rest;
    words >> command >> std::ws;
    if (command == "open") {
        open(words);
    } else if (command == "close") {
        words >> rest;
        if (std::erase_if(sockets_, [&](const auto& e) { return e.name == rest; }) == 0)
            throw failure("no such socket");
    } else if (command == "move") {
        std::vector<std::uint32_t> weights;
        while (std::getline(words, rest, ',')) weights.push_back(static_cast<std::uint32_t>(number(rest)));
        return begin(std::move(weights));
    } else if (command == "follow") {
        return begin(stack_->steering().weights_of_groups());
    } else if (command == "send") {
        send(words);
    } else if (command == "explain") {
        words >> rest;
        const auto told = control::explain(*stack_, rest);
        if (!told) throw failure(told.error());
        fmt::print("{}", told->text());
    } else if (command == "report") {
        say(report());
    } else if (command == "forget") {
        flows_.clear();
        numbers_.clear();
        disorder_ = 0;
        for (auto& e : sockets_) e.received = 0, e.by_queue.clear();
    } else if (command == "shell") {
        std::getline(words, rest);
        shell(rest);
    } else if (command == "quit") {
        over_ = true;
    } else {
        throw failure("no such command: " + command);
    }
    say("= ok");
}

void guest::run() {
    for (const auto& p : stack_->ports()) fmt::print("{}", p->describe());
    say("= ok");
    constexpr unsigned turns_between_looks = 16;
    std::string line;
    while (!over_) {
        for (unsigned i = 0; i < turns_between_looks; i++) turn();
        pollfd in{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
        if (::poll(&in, 1, 0) <= 0) continue;
        char c = 0;
        if (::read(STDIN_FILENO, &c, 1) != 1) return;
        if (c != '\n') {
            line += c;
            // The rest of the line is on its way.
            while (::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
        }
        try {
            obey(line);
        } catch (const failure& e) {
            say(fmt::format("= failed: {}", e.what()));
        }
        line.clear();
    }
}

}  // namespace

int main(int argc, char** argv) {
    control::command_line options("A test's hand inside a virtual machine: see the head of tests/nic/guest.cc.");
    const auto config = options.parse(argc, argv);
    if (!config) return config.error();
    auto eal = control::start_eal("nic-guest", *config);
    if (!eal) return say("= failed: " + eal.error()), 1;
    auto stack = control::stack::make(*config, control::driving::own);
    if (!stack) return say("= failed: " + stack.error()), 1;
    guest(std::move(*stack)).run();
    return 0;
}
