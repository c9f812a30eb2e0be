// The daemon's side of attaching: sessions of other processes, their requests, the life of their sockets.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <unordered_map>
#include <vector>

#include "attach/channel.hh"
#include "attach/session.hh"
#include "control/stack.hh"

namespace skua::attach {

struct server_options {
    std::string path;  // of the UNIX socket
    mode_t mode = 0666;
    std::optional<gid_t> group;
    unsigned sessions_per_user = 256;
    unsigned sockets_per_user = 4096;
};

/// One thread answers requests; the shards serve the rings. Ends after the stack's threads have.
///
class server {
public:
    /// The error is a text for people.
    static tl::expected<std::unique_ptr<server>, std::string> start(control::stack& s, server_options o);
    ~server();
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    /// Routes or addresses were changed: what programs learnt about destinations is old.
    void network_changed() { network_changed_.store(true); }
    unsigned session_count() const { return sessions_now_.load(std::memory_order_relaxed); }
    unsigned socket_count() const { return sockets_now_.load(std::memory_order_relaxed); }

private:
    using clock = std::chrono::steady_clock;
    /// What a shard polls.
    class agent final : public shard::guest {
    public:
        explicit agent(const server& s) : server_(s) {}
        unsigned poll(shard::shard& on) override;

    private:
        const server& server_;
    };
    struct holding {
        std::unique_ptr<attached_socket> socket;
        uid_t user;
        ino_t end;  // of the program's end of the pair, by which a descriptor is known
    };
    struct leaving {
        std::unique_ptr<attached_socket> socket;
        clock::time_point until;
        bool hidden = false;  // no shard finds it from `hidden_at` on
        std::uint64_t hidden_at = 0;
    };
    /// What the shards look at in each turn.
    struct polled {
        std::vector<session*> sessions;
        std::vector<attached_socket*> unannounced;
    };

    server(control::stack& s, server_options o);
    std::string listen();
    void run();
    void accept_one();
    void serve(int control);
    void end_session(int control);
    void close_socket(std::uint64_t id);
    void let_go();
    void forsake(session& ended);
    void publish();

    struct answer;
    void handle(session& s, message& m, const request_header& h, std::span<const std::byte> body, answer& out);
    void make_socket(session& s, const request_header& h, answer& out);
    void open_socket(session& s, message& m, answer& out);
    static void set_option(attached_socket& s, const request_header& h, std::span<const std::byte> body, answer& out);
    void reply_socket(session& s, attached_socket& a, answer& out);

    control::stack& stack_;
    const server_options options_;
    int listener_ = -1, poll_ = -1, stop_ = -1;
    std::vector<std::unique_ptr<agent>> agents_;
    std::atomic<const polled*> polled_{nullptr};
    std::map<int, std::unique_ptr<session>> sessions_;  // by control descriptor
    std::unordered_map<std::uint64_t, holding> sockets_;
    std::unordered_map<ino_t, std::uint64_t> by_end_;
    std::map<uid_t, unsigned> sessions_of_, sockets_of_;
    std::vector<leaving> leaving_;
    std::map<attached_socket*, clock::time_point> forsaken_;  // until when; see forsake()
    std::uint64_t last_id_ = 0;
    std::atomic<bool> network_changed_{false};
    std::atomic<unsigned> sessions_now_{0}, sockets_now_{0};
    std::thread thread_;
};

}  // namespace skua::attach
