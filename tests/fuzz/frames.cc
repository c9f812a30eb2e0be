// Fuzz target: rows of frames for a whole host with sockets. Nothing may crash, and no packet may be lost.
#include <cstdio>
#include <cstdlib>

#include "fuzz/rows.hh"
#include "support/world.hh"

namespace skua::test {

namespace {

using namespace std::chrono_literals;

/// Port 7 echoes, by both families; port 9 is connected to port 40000 of the peer; others are closed.
class target {
public:
    target()
        : world_(2, [](control::config& c) {
              c.pool.packets = 2048;
              c.neighbours.max_entries = 16;
          }) {
        for (const auto& us : {us4, us6}) {
            echoes_.push_back(world_.open({us, 7}));
            connected_.push_back(world_.open({us, 9}, 1));
            if (!connected_.back()->connect(endpoint{us.is_v4() ? peer4 : peer6, 40000, 0})) std::abort();
        }
    }

    void run(const std::uint8_t* data, std::size_t size) {
        for_each_frame(data, size, [&](std::span<const std::uint8_t> frame) { receive(frame); });
        answer();
        world_.advance(7ms);
        world_.sent();
        // What waits for the rest of a datagram or for a neighbour may stay a while, but not for ever.
        if (++inputs_ % 64 == 0 || world_.packets_in_use() > 512) require(world_.missing() == 0, "packets are missing");
    }

private:
    void receive(std::span<const std::uint8_t> frame) {
        if (world_.packets_in_use() > 2048) return;
        const std::string_view bytes(reinterpret_cast<const char*>(frame.data()), frame.size());
        // The length chooses how it comes, so that the same input always takes the same way.
        switch (frame.size() % 4) {
            case 0: world_.inject_split(bytes, {frame.size() / 2}, 1); break;
            case 1: world_.offer({std::string(bytes)}); break;
            case 2: world_.inject(std::vector{std::string(bytes)}); break;
            default: world_.inject(bytes); break;
        }
    }
    void answer() {
        world_.settle();
        for (auto& s : echoes_)
            while (auto got = world_.receive(*s)) (void)world_.send(*s, got->payload, got->from);
        for (auto& s : connected_) {
            world_.receive_all(*s);
            (void)world_.send(*s, "news");
        }
    }
    static void require(bool fact, const char* what) {
        if (fact) return;
        std::fprintf(stderr, "%s\n", what);
        std::abort();
    }

    world world_;
    std::vector<socket::udp_socket_ptr> echoes_, connected_;
    unsigned inputs_ = 0;
};

}  // namespace

}  // namespace skua::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Lives as long as the process: the EAL under it is not taken down in order.
    static auto* const host = new skua::test::target;
    host->run(data, size);
    return 0;
}
