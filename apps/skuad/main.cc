// skuad: the daemon that owns the NICs. It runs the shards, tells the service manager how it is, and reads its
// configuration anew on SIGHUP.
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <systemd/sd-daemon.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <sstream>
#include <thread>

#include "api/running.hh"
#include "attach/attach_telemetry.hh"
#include "attach/server.hh"
#include "control/command_line.hh"
#include "control/eal.hh"
#include "skuad/manager_store.hh"

namespace {

using namespace skua;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr const char* program = "skuad";
constexpr const char* description =
    "The daemon of skua: owns the NICs and runs the stack, until SIGTERM or SIGINT.\n"
    "SIGHUP makes it read its configuration anew: addresses, routes, neighbours and limits change while packets flow.\n"
    "For example:  skuad --config /etc/skua/skua.toml";
constexpr auto drain_time = 1s;
constexpr auto longest_detection = 10s;  // duplicate address detection, before "ready" is said

int fail(const std::string& why) {
    fmt::print(stderr, "{}: {}\n", program, why);
    return 1;
}

void say(const std::string& what) {
    fmt::print("{}\n", what);
    std::fflush(stdout);
}

/// The signals that it lives by, kept from all its threads.
sigset_t watched_signals() {
    sigset_t all;
    sigemptyset(&all);
    for (const int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&all, s);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    return all;
}

/// The next of them, or 0 at the deadline.
int next_signal(const sigset_t& watched, clock::time_point deadline) {
    const auto left = std::max<clock::duration>(deadline - clock::now(), 0ns);
    const timespec wait{std::chrono::duration_cast<std::chrono::seconds>(left).count(), (left % 1s) / 1ns};
    const int got = sigtimedwait(&watched, nullptr, &wait);
    return got < 0 ? 0 : got;
}

class service {
public:
    service(int argc, char** argv, api::running& r, attach::server* s)
        : argc_(argc), argv_(argv), running_(r), server_(s) {}

    /// Until it is told to end.
    void serve(const sigset_t& watched) {
        for (const auto& p : running_.stack().ports()) fmt::print("{}", p->describe());
        // Before the end of duplicate address detection nobody reaches a tentative address.
        const auto until = clock::now() + longest_detection;
        while (running_.stack().any_tentative() && clock::now() < until)
            if (const int s = next_signal(watched, clock::now() + 10ms); s != 0 && !handle(s)) return;
        say("ready");
        sd_notify(0, "READY=1");
        for (;;)
            if (const int s = next_signal(watched, clock::now() + 1h); s != 0 && !handle(s)) return;
    }

private:
    /// False: it is time to go.
    bool handle(int signal) {
        if (signal == SIGHUP) {
            reload();
            return true;
        }
        sd_notify(0, "STOPPING=1");
        // What programs have sent may still leave.
        const auto until = clock::now() + drain_time;
        while (!running_.stack().drained() && clock::now() < until) std::this_thread::sleep_for(1ms);
        return false;
    }

    void reload() {
        sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   static_cast<long long>(clock::now().time_since_epoch() / 1us));
        control::command_line line(description);
        std::ostringstream unused, wrong;
        const auto next = line.parse(argc_, argv_, unused, wrong);
        if (!next) {
            fmt::print(stderr, "{}: the old configuration stays:\n{}", program, wrong.str());
        } else if (const auto done = running_.stack().apply(*next); !done) {
            fmt::print(stderr, "{}: the old configuration stays: {}\n", program, done.error());
        } else {
            if (server_ != nullptr) {
                server_->set_limits(attach::limits_of(next->attach));
                server_->network_changed();
            }
            say("configuration applied");
        }
        sd_notify(0, "READY=1");
    }

    const int argc_;
    char** const argv_;
    api::running& running_;
    attach::server* const server_;  // nullptr: nobody can attach
};

}  // namespace

namespace {

/// Who keeps descriptors for the daemon's next start, and what was kept of the last one. nullptr: nobody.
tl::expected<std::unique_ptr<attach::store>, std::string> find_store(const control::attach_config& a,
                                                                     std::vector<attach::kept>& left) {
    using control::keeping;
    const bool managed = std::getenv("NOTIFY_SOCKET") != nullptr;
    if (a.path.empty() || a.keep_by == keeping::nobody) return nullptr;
    if (a.keep_by == keeping::manager || (a.keep_by == keeping::automatic && managed)) return manager_store::find(left);
    return attach::keeper::find(a.path + ".keeper", std::chrono::seconds(a.keep_seconds), left);
}

}  // namespace

int main(int argc, char** argv) {
    control::command_line line(description);
    const auto config = line.parse(argc, argv);
    if (!config) return config.error();
    std::vector<attach::kept> left;
    const auto store = find_store(config->attach, left);
    if (!store) return fail(store.error());
    const sigset_t watched = watched_signals();  // before the EAL makes threads
    auto eal = control::start_eal(program, *config);
    if (!eal) return fail(eal.error());
    if (auto ok = api::running::start(*config, control::driving::own, std::move(*eal)); !ok) return fail(ok.error());
    api::running& running = *api::running::current();
    std::unique_ptr<attach::server> server;
    std::optional<attach::attach_telemetry> telemetry;
    if (const auto& a = config->attach; !a.path.empty()) {
        auto options = attach::options_of(a);
        options.keeper = store->get();
        auto started = attach::server::start(running.stack(), std::move(options), std::move(left));
        if (!started) {
            api::running::stop();
            return fail(started.error());
        }
        server = std::move(*started);
        telemetry.emplace(*server);
    }
    service(argc, argv, running, server.get()).serve(watched);
    running.stack().stop_threads();
    telemetry.reset();
    server.reset();
    api::running::stop();
    return 0;
}
