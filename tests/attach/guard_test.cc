// Nothing that an attached process does, writes or fails to do stops the daemon or is felt by its neighbour.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "attach/raw_process.hh"
#include "skua/skua.h"
#include "support/daemon.hh"

namespace skua::test {
namespace {

using namespace std::chrono_literals;
using namespace attach;
using ms = std::chrono::duration<double, std::milli>;
using stopwatch = std::chrono::steady_clock;

constexpr uid_t nobody = 65534;

/// What the neighbour has seen, in memory that it shares with the tests.
struct seen {
    std::atomic<std::uint64_t> rounds{0}, lost{0}, longest_us{0};
    std::atomic<bool> stop{false};
};

int udp_at_home() {
    const int fd = skua_socket(AF_INET, SOCK_DGRAM, 0);
    const sockaddr_in any = at_home(0);
    const timeval patience{2, 0};
    if (fd < 0 || skua_bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) return -1;
    skua_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

sockaddr_in name_of(int fd) {
    sockaddr_in name{};
    socklen_t length = sizeof name;
    skua_getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length);
    return name;
}

bool echo_once(int from, int to, const sockaddr_in& at) {
    char byte = 0;
    return skua_sendto(from, "x", 1, 0, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 1 &&
           skua_recv(to, &byte, 1, 0) == 1 && byte == 'x';
}

/// Runs `work` in a child; its exit status.
pid_t in_child(const std::function<int()>& work) {
    const pid_t id = fork();
    if (id == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
            _exit(work());
        } catch (const std::exception& e) {
            std::fprintf(stderr, "%s\n", e.what());
            _exit(99);
        }
    }
    return id;
}
int status_of(pid_t id) {
    int status = -1;
    waitpid(id, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class guard : public testing::Test {
protected:
    static void SetUpTestSuite() {
        signal(SIGPIPE, SIG_IGN);
        const rlimit many{8192, 8192};
        setrlimit(RLIMIT_NOFILE, &many);
        daemon_ = std::make_unique<daemon>(
            std::vector<std::string>{"--attach-sessions-per-user", "2000", "--attach-sockets-per-user", "100"}, true);
        void* const shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        seen_ = new (shared) seen;
        neighbour_ = in_child([] {
            const int a = udp_at_home(), b = udp_at_home();
            const sockaddr_in at = name_of(b);
            while (!seen_->stop) {
                const auto start = stopwatch::now();
                if (!echo_once(a, b, at)) seen_->lost++;
                const auto us = static_cast<std::uint64_t>((stopwatch::now() - start) / 1us);
                if (us > seen_->longest_us) seen_->longest_us = us;
                seen_->rounds++;
                usleep(200);
            }
            return 0;
        });
    }
    static void TearDownTestSuite() {
        seen_->stop = true;
        EXPECT_EQ(status_of(neighbour_), 0);
        std::printf("neighbour: %llu rounds, %llu lost\n", static_cast<unsigned long long>(seen_->rounds),
                    static_cast<unsigned long long>(seen_->lost));
        daemon_.reset();
    }
    void SetUp() override {
        skua_close(udp_at_home());  // this process has its own session from now on
        while (seen_->rounds < 10) usleep(1000);
        do before_ = daemon_->look("/skua/attach");
        while (before_["sockets_leaving"] != 0);
        descriptors_before_ = daemon_->descriptors();
        seen_->longest_us = 0;
    }
    /// Nothing was left behind, and the neighbour goes on as before.
    void TearDown() override {
        ASSERT_TRUE(daemon_->runs());
        std::map<std::string, std::uint64_t> after;
        std::size_t descriptors = 0;
        for (int i = 0; i < 200; i++) {
            after = daemon_->look("/skua/attach");
            descriptors = daemon_->descriptors();
            if (after["sessions"] == before_["sessions"] && after["sockets_leaving"] == 0 &&
                descriptors <= descriptors_before_)
                break;
            usleep(20000);
        }
        EXPECT_EQ(after["sockets_leaving"], 0u);
        for (const char* name : {"sessions", "sockets", "memory"}) EXPECT_EQ(after[name], before_[name]) << name;
        EXPECT_LE(descriptors, descriptors_before_);
        const std::uint64_t rounds = seen_->rounds;
        for (int i = 0; i < 2000 && seen_->rounds < rounds + 5; i++) usleep(1000);
        EXPECT_GE(seen_->rounds, rounds + 5) << "the neighbour stands still";
        EXPECT_EQ(seen_->lost, 0u);
        std::printf("  the neighbour's longest round: %llu us\n", static_cast<unsigned long long>(seen_->longest_us));
        EXPECT_LT(seen_->longest_us, 1'000'000u);
    }
    std::uint64_t counted(const char* name) { return daemon_->look("/skua/attach")[name] - before_[name]; }

    static std::unique_ptr<daemon> daemon_;
    static seen* seen_;
    static pid_t neighbour_;
    std::map<std::string, std::uint64_t> before_;
    std::size_t descriptors_before_ = 0;
    std::mt19937 random_{1};
};
std::unique_ptr<daemon> guard::daemon_;
seen* guard::seen_;
pid_t guard::neighbour_;

TEST_F(guard, who_does_not_keep_to_the_protocol_is_hung_up_on) {
    const request_header sound{.what = request::hello};
    request_header version = sound, longer = sound, shorter = sound;
    version.version++;
    longer.length = 1;
    shorter.length = UINT32_MAX;
    std::vector<std::vector<std::byte>> bad;
    for (const auto& h : {version, longer, shorter}) bad.emplace_back(bytes_of(h).begin(), bytes_of(h).end());
    for (const std::size_t size : {std::size_t(0), std::size_t(1), sizeof sound / 2, sizeof sound - 1})
        bad.emplace_back(bytes_of(sound).begin(), bytes_of(sound).begin() + size);
    bad.emplace_back(sizeof sound + longest_body + 1);
    bad.emplace_back(sizeof sound + longest_body);
    for (const auto& bytes : bad) {
        raw_process p(daemon_->path());
        ASSERT_TRUE(p.hello());
        p.say(bytes);
        if (bytes.empty()) continue;  // is the end of the connection
        EXPECT_FALSE(p.hear()) << bytes.size();
    }
    EXPECT_GE(counted("sessions_garbage"), bad.size() - 1);
}

TEST_F(guard, descriptors_that_belong_nowhere_are_closed) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    std::vector<int> many(1, ends[0]);
    raw_process p(daemon_->path());
    const request_header h{.what = request::hello};
    p.say(bytes_of(h), many);
    EXPECT_FALSE(p.hear());
    close(ends[0]);
    // Nobody has the reading end any more: the daemon gave it back.
    for (int i = 0; i < 1000 && write(ends[1], "", 1) == 1; i++) usleep(1000);
    EXPECT_EQ(write(ends[1], "", 1), -1);
    close(ends[1]);
}

TEST_F(guard, only_the_descriptor_of_a_socket_opens_it) {
    raw_process owner(daemon_->path()), other(daemon_->path());
    ASSERT_TRUE(owner.hello());
    ASSERT_TRUE(other.hello());
    auto s = owner.open_socket();
    EXPECT_EQ(other.ask(request::local_name, s.id), EBADF);
    EXPECT_EQ(other.ask(request::shutdown, s.id, {2}), EBADF);
    EXPECT_EQ(other.ask(request::open), EBADF);
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    for (const int fd : {pair[0], s.memory.fd(), other.fd(), STDIN_FILENO}) {
        EXPECT_EQ(other.ask(request::open, 0, {}, {}, std::array{fd}), EBADF);
        EXPECT_TRUE(other.answer().descriptors.empty());
    }
    EXPECT_EQ(other.ask(request::open, 0, {}, {}, std::array{s.fd}), 0);
    EXPECT_EQ(other.answer().descriptors.size(), 1u);
    for (const int fd : {pair[0], pair[1], s.fd}) close(fd);
}

TEST_F(guard, memory_cannot_be_taken_away_from_under_the_daemon) {
    raw_process p(daemon_->path());
    ASSERT_TRUE(p.hello());
    auto s = p.open_socket();
    for (const off_t size : {0, 4096, 1 << 30}) EXPECT_EQ(ftruncate(s.memory.fd(), size), -1);
    // Holes are zeros.
    EXPECT_EQ(fallocate(s.memory.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(s.memory.bytes().size())),
              0);
    p.ring().written.fetch_add(1);
    EXPECT_EQ(p.ask(request::local_name, s.id), 0);
    close(s.fd);
}

/// Writes what it likes into its region while datagrams come and announcements go.
TEST_F(guard, garbage_in_the_region_hurts_nobody_else) {
    for (int i = 0; i < 150; i++) {
        raw_process p(daemon_->path());
        ASSERT_TRUE(p.hello());
        auto s = p.open_socket();
        sockaddr_in name{};
        ASSERT_EQ(p.ask(request::local_name, s.id), 0);
        std::memcpy(&name, p.answer().bytes.data(), sizeof name);
        const auto memory = s.memory.bytes();
        const int kind = i % 5;
        for (int k = 0; k < 400; k++) {
            if (kind == 0) memory[random_() % sizeof(socket_page)] = std::byte(random_());
            if (kind == 1) s.page().tx.written = random_();
            if (kind == 2) s.page().tx.written += line;
            if (kind == 2) memory[socket_page::rx_at + (1 << 23) + random_() % 8192] = std::byte(random_());
            if (kind == 3) s.page().rx.read = random_(), s.page().rx_returned = random_(), s.page().watch = random_();
            if (kind == 4) s.page().tx.read = random_(), s.page().send_buffer = static_cast<int>(random_());
            p.ring().sockets[random_() % announcements::room] = k % 2 ? s.number : random_();
            p.ring().written = k % 7 ? p.ring().written + 1 : random_();
        }
        const int from = udp_at_home();
        for (int k = 0; k < 20; k++)
            skua_sendto(from, "garbage?", 8, 0, reinterpret_cast<const sockaddr*>(&name), sizeof name);
        skua_close(from);
        EXPECT_EQ(p.ask(request::hello), 0);
        close(s.fd);
    }
}

/// The shard reads what another thread changes at the same moment.
TEST_F(guard, a_record_that_changes_while_it_is_read) {
    raw_process p(daemon_->path());
    ASSERT_TRUE(p.hello());
    auto s = p.open_socket();
    std::atomic<bool> stop{false};
    auto& page = s.page();
    std::byte* const ring = s.memory.bytes().data() + socket_page::rx_at + page.rx_bytes;
    std::thread flips([&] {
        std::mt19937 r(2);
        while (!stop) {
            ring[r() % 1024] = std::byte(r());
            reinterpret_cast<volatile record*>(ring)->length = r() % 2 ? 64 : UINT32_MAX;
            reinterpret_cast<volatile record*>(ring)->size = r() % 2 ? 128 : 1 << 24;
        }
    });
    const auto until = stopwatch::now() + 1s;
    while (stopwatch::now() < until) {
        page.tx.written += 128;
        p.ring().sockets[p.ring().written % announcements::room] = s.number;
        p.ring().written++;
    }
    stop = true;
    flips.join();
    EXPECT_EQ(p.ask(request::hello), 0);
    close(s.fd);
}

TEST_F(guard, who_does_not_read_its_answers_is_hung_up_on) {
    raw_process p(daemon_->path());
    const request_header h{.what = request::socket, .words = {AF_INET, SOCK_DGRAM, 0}};
    bool up = true;
    for (int i = 0; i < 10000 && up; i++) up = p.say(bytes_of(h));
    EXPECT_FALSE(up);
}

TEST_F(guard, a_descriptor_that_takes_long_to_close) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name = at_home(0);
    socklen_t length = sizeof name;
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    getsockname(listener, reinterpret_cast<sockaddr*>(&name), &length);
    const int slow = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(connect(slow, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    const std::vector<char> much(1 << 16);
    while (send(slow, much.data(), much.size(), MSG_DONTWAIT) > 0) {
    }
    const linger long_one{1, 3};
    setsockopt(slow, SOL_SOCKET, SO_LINGER, &long_one, sizeof long_one);
    {
        raw_process p(daemon_->path());
        ASSERT_TRUE(p.hello());
        const request_header h{.what = request::open};
        p.say(bytes_of(h), std::array{slow});
        close(slow);
        EXPECT_TRUE(p.hear());
        const auto start = stopwatch::now();
        raw_process other(daemon_->path());
        EXPECT_TRUE(other.hello());
        EXPECT_LT(ms(stopwatch::now() - start).count(), 1000);
    }
    close(listener);
}

/// Children that send and receive with all their might are killed somewhere.
TEST_F(guard, death_at_any_moment_leaves_nothing) {
    for (int i = 0; i < 300; i++) {
        const pid_t child = in_child([] {
            const int a = udp_at_home(), b = udp_at_home();
            const sockaddr_in at = name_of(b);
            while (true) echo_once(a, b, at);
            return 0;
        });
        usleep(static_cast<useconds_t>(random_() % 8000));
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
    }
}

/// The sharer goes on, whatever lock the dead one had.
TEST_F(guard, a_sharer_dies_and_the_other_goes_on) {
    const int a = udp_at_home(), b = udp_at_home();
    const sockaddr_in at = name_of(b);
    char drain[64];
    for (int i = 0; i < 100; i++) {
        const pid_t child = in_child([&] {
            for (;;) {
                skua_sendto(a, "y", 1, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&at), sizeof at);
                skua_recv(b, drain, sizeof drain, MSG_DONTWAIT);
            }
            return 0;
        });
        usleep(static_cast<useconds_t>(500 + random_() % 4000));
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        bool came = false;
        for (int k = 0; k < 3 && !came; k++) {
            ASSERT_EQ(skua_sendto(a, "x", 1, 0, reinterpret_cast<const sockaddr*>(&at), sizeof at), 1) << i;
            for (ssize_t n; !came && (n = skua_recv(b, drain, sizeof drain, 0)) > 0;) came = drain[0] == 'x';
        }
        EXPECT_TRUE(came) << i;
        while (skua_recv(b, drain, sizeof drain, MSG_DONTWAIT) > 0) {
        }
    }
    skua_close(a);
    skua_close(b);
}

TEST_F(guard, attaching_and_leaving_in_quick_succession) {
    constexpr int times = 2000;
    const auto start = stopwatch::now();
    for (int i = 0; i < times; i++) {
        raw_process p(daemon_->path());
        ASSERT_TRUE(p.hello());
        auto s = p.open_socket();
        close(s.fd);
    }
    const double took = ms(stopwatch::now() - start).count();
    std::printf("  %.0f processes with a socket attach and leave in a minute\n", times / took * 60000);
    EXPECT_GT(times / took * 60000, 10000);
}

TEST_F(guard, a_flood_of_requests_keeps_no_other_user_waiting) {
    std::atomic<bool>& stop =
        *new (mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<bool>(false);
    raw_process quiet(daemon_->path());
    ASSERT_TRUE(quiet.hello());
    const auto latency = [&] {
        std::vector<double> all;
        for (int i = 0; i < 300; i++) {
            const auto start = stopwatch::now();
            EXPECT_EQ(quiet.ask(request::hello), 0);
            all.push_back(ms(stopwatch::now() - start).count() * 1000);
            usleep(300);
        }
        std::sort(all.begin(), all.end());
        return std::pair(all[150], all[297]);
    };
    const auto alone = latency();
    const pid_t flood = in_child([&] {
        if (setuid(nobody) != 0) return 1;
        std::vector<raw_process> all;
        for (int i = 0; i < 10; i++) all.emplace_back(daemon_->path());
        while (!stop) {
            const request_header h{.what = request::get_option};
            for (auto& p : all) p.say(bytes_of(h));
            for (auto& p : all) p.hear();
        }
        return 0;
    });
    usleep(100000);
    const auto beside = latency();
    stop = true;
    EXPECT_EQ(status_of(flood), 0);
    std::printf("  a request takes %.0f us (p99 %.0f), beside a flood of 10 sessions %.0f us (p99 %.0f)\n", alone.first,
                alone.second, beside.first, beside.second);
    EXPECT_LT(beside.first, 20000);
}

TEST_F(guard, a_thousand_processes_that_do_nothing) {
    std::vector<raw_process> all;
    for (int i = 0; i < 1000; i++) {
        all.emplace_back(daemon_->path());
        ASSERT_TRUE(all.back().hello()) << i;
    }
    EXPECT_GE(daemon_->look("/skua/attach")["sessions"], 1000u);
    const int a = udp_at_home(), b = udp_at_home();
    EXPECT_TRUE(echo_once(a, b, name_of(b)));
    skua_close(a);
    skua_close(b);
}

TEST_F(guard, a_user_has_as_many_sockets_as_is_allowed_and_no_privileged_port) {
    EXPECT_EQ(status_of(in_child([] {
                  if (setuid(nobody) != 0) return 1;
                  raw_process p(daemon_->path());
                  if (!p.hello()) return 2;
                  auto s = p.open_socket();
                  const sockaddr_in low = at_home(53);
                  if (p.ask(request::socket, 0, {AF_INET, SOCK_DGRAM, 0}) != 0) return 3;
                  const auto descriptor = p.hear();
                  socket_reply reply;
                  std::memcpy(&reply, p.answer().bytes.data(), sizeof reply);
                  if (p.ask(request::bind, reply.id, {}, bytes_of(low)) != EACCES) return 4;
                  const int much = 1 << 20;
                  if (p.ask(request::set_option, s.id, {SOL_SOCKET, SO_RCVBUFFORCE, 0}, bytes_of(much)) != EPERM)
                      return 5;
                  std::vector<raw_process::socket> held;
                  for (int i = 0; i < 98; i++) held.push_back(p.open_socket());
                  return p.ask(request::socket, 0, {AF_INET, SOCK_DGRAM, 0}) == ENFILE ? 0 : 6;
              })),
              0);
}

/// SO_REUSEPORT lets sockets of one user in only (udp_lib_lport_inuse looks at sock_i_uid).
TEST_F(guard, a_group_takes_sockets_of_its_own_user_only) {
    const auto join = [](uid_t user, std::uint16_t port) {
        if (setuid(user) != 0) return 1;
        raw_process p(daemon_->path());
        if (!p.hello()) return 2;
        if (p.ask(request::socket, 0, {AF_INET, SOCK_DGRAM, 0}) != 0) return 4;
        const auto descriptor = p.hear();
        socket_reply s;
        std::memcpy(&s, p.answer().bytes.data(), sizeof s);
        const int on = 1;
        const sockaddr_in at = at_home(port);
        if (p.ask(request::set_option, s.id, {SOL_SOCKET, SO_REUSEPORT, 0}, bytes_of(on)) != 0) return 3;
        return p.ask(request::bind, s.id, {}, bytes_of(at));
    };
    const int first = skua_socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    ASSERT_EQ(skua_setsockopt(first, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    sockaddr_in here = at_home(0);
    socklen_t length = sizeof here;
    ASSERT_EQ(skua_bind(first, reinterpret_cast<sockaddr*>(&here), sizeof here), 0);
    ASSERT_EQ(skua_getsockname(first, reinterpret_cast<sockaddr*>(&here), &length), 0);
    const std::uint16_t port = ntohs(here.sin_port);
    EXPECT_EQ(status_of(in_child([&] { return join(0, port); })), 0);
    EXPECT_EQ(status_of(in_child([&] { return join(nobody, port); })), EADDRINUSE);
    skua_close(first);
}

}  // namespace
}  // namespace skua::test
