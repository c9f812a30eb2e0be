// The daemon's side of attaching: sessions of other processes, their requests, the life of their sockets.
//
// Nobody waits for a process that does not keep to the protocol, nor longer than a moment for one that asks a lot:
// each round of the server answers at most one request of a session and a few of a user; who has used up the requests
// of a second is not read for a while.
#pragma once

#include <sys/epoll.h>
#include <sys/types.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <unordered_map>
#include <vector>

#include "attach/accounts.hh"
#include "attach/agent.hh"
#include "attach/channel.hh"
#include "attach/keeper.hh"
#include "attach/ledger.hh"
#include "attach/undertaker.hh"
#include "control/stack.hh"

namespace skua::attach {

/// What can change while it runs.
struct limits {
    quotas per_user;
    std::map<uid_t, std::shared_ptr<const socket::port_list>> allowed;  // privileged ports
};
limits limits_of(const control::attach_config& c);

struct server_options {
    std::string path;  // of the UNIX socket
    mode_t mode = 0666;
    std::optional<uid_t> owner;
    std::optional<gid_t> group;
    attach::limits limits;
    store* keeper = nullptr;  // outlives the server; nullptr: sockets end with the daemon
};
server_options options_of(const control::attach_config& c);

/// What is there at one moment.
struct report {
    struct user {
        uid_t id;
        account has;
    };
    struct process {
        pid_t id;
        uid_t user;
        std::size_t sockets;
    };
    std::uint64_t sockets = 0, leaving = 0, memory = 0;
    std::vector<user> users;
    std::vector<process> sessions;
};

/// Ends after the stack's threads have.
class server {
public:
    /// With a thread of its own. `left`: what the daemon before gave to the keeper; taken over. The error is a text for
    /// people.
    static tl::expected<std::unique_ptr<server>, std::string> start(control::stack& s, server_options o,
                                                                    std::vector<kept> left = {});
    /// Without one: the caller turns it.
    static tl::expected<std::unique_ptr<server>, std::string> make(control::stack& s, server_options o,
                                                                   std::vector<kept> left = {});
    ~server();
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    /// One round; waits no longer than this if there is nothing to do.
    void turn(std::chrono::milliseconds longest);

    // ---- any thread ----
    /// Routes or addresses were changed: what programs learnt about destinations is old.
    void network_changed() { network_changed_.store(true); }
    /// What is there already stays.
    void set_limits(limits l);
    report look() const;
    const events& counts() const { return counts_; }

private:
    struct answer {
        int error = 0;
        std::vector<std::byte> body;
        std::vector<int> descriptors;  // lent: the answer does not close them
        int given = -1;                // sent in a message of its own, and closed
        template <class T>
        void put(const T& value) {
            const auto bytes = bytes_of(value);
            body.insert(body.end(), bytes.begin(), bytes.end());
        }
        void set(const result<void>& done) { error = done ? 0 : done.error().code; }
    };
    /// A request that waits until what is closed is gone: a bind may have failed for a port which is just coming free.
    struct postponed {
        int control;
        request_header header;
        std::vector<std::byte> body;
        std::uint64_t round;
        clock::time_point until;
    };
    /// No shard sees it once `token` has passed.
    struct dying {
        std::uint64_t token;
        std::unique_ptr<session> process;
        std::unique_ptr<holding> socket;
    };

    server(control::stack& s, server_options o);
    static constexpr std::uint64_t bell_bit = 1ull << 63;  // in epoll's data: a socket's id, not a descriptor

    std::string listen();
    std::string set_access();
    std::string make_sets();

    // the rounds (server.cc)
    int wait(std::chrono::milliseconds longest);
    bool watch(std::uint64_t what, int fd, std::uint32_t events);
    bool admit(uid_t user, int control);
    void resume_waiting();
    void accept_one();
    void serve(int control);
    void reply(int control, answer& out);
    void answer_postponed();
    void end_session(int control, bool for_garbage);
    void bury_descriptors(uid_t user, message& m);
    void close_socket(std::uint64_t id);
    void tend_shared(holding& h);
    void let_go();
    void publish();
    void forget_idle_users();

    // requests (requests.cc)
    void handle(session& s, message& m, const request_header& h, std::span<const std::byte> body, answer& out);
    void handle(holding& of, const request_header& h, std::span<const std::byte> body, answer& out);
    void make_socket(session& s, const request_header& h, answer& out);
    void open_socket(session& s, message& m, answer& out);
    void set_option(holding& of, const request_header& h, std::span<const std::byte> body, answer& out);
    bool take_memory(holding& of);
    socket::credentials credentials_of(uid_t user) const;
    void reply_socket(session& s, holding& of, answer& out);

    // what outlives the daemon (restore.cc)
    struct left_behind;
    std::string restore(std::vector<kept> left);
    void put_back(const ledger::facts& f, left_behind& found);
    void tell_again(std::vector<ledger::entry>& entries);
    void keep(holding& of, const request_header& made_by, const attached_socket::layout& rings);
    void no_longer_keep(std::uint64_t id);
    void forget_ledger();
    void note(holding& of, const request_header& h, std::span<const std::byte> body);
    std::uint32_t incarnation() const { return ledger_ ? ledger_->incarnation() : 0; }

    control::stack& stack_;
    const server_options options_;
    limits limits_;            // under lock_
    mutable std::mutex lock_;  // of a round, and of those who look
    int listener_ = -1, poll_ = -1, stop_ = -1;
    bool bound_ = false;
    std::vector<std::unique_ptr<agent>> agents_;
    std::atomic<const polled*> polled_{nullptr};
    std::uint64_t pictures_ = 0;
    std::vector<epoll_event> events_;
    std::uint64_t round_ = 0;
    unsigned empty_rounds_ = 0;
    clock::time_point now_;
    clock::time_point listen_again_{};  // descriptors had run out
    clock::time_point next_sweep_{};

    std::map<int, std::unique_ptr<session>> sessions_;  // by control descriptor
    std::unordered_map<std::uint64_t, std::unique_ptr<holding>> sockets_;
    std::unordered_map<std::uint64_t, std::uint64_t> by_cookie_;
    std::map<uid_t, account> accounts_;
    std::map<uid_t, std::deque<int>> waiting_;  // controls, for requests to be allowed again
    std::vector<postponed> postponed_;
    std::vector<std::unique_ptr<holding>> leaving_;
    std::map<std::uint64_t, clock::time_point> tended_;  // sockets that live on, by id
    std::deque<dying> dying_;
    undertaker undertaker_;
    std::uint64_t last_id_ = 0;
    std::optional<ledger> ledger_;
    events counts_;
    std::atomic<bool> network_changed_{false};
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

}  // namespace skua::attach
