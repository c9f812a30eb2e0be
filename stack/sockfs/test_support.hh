// What the tests of files and waiting share: a file whose readiness a test decides, and threads that wait.
#pragma once

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>

#include "sockfs/file.hh"

namespace skua::sockfs {

class some_file final : public file {
public:
    some_file() : file(O_RDWR) {}
    std::uint32_t poll_events() override { return events_.load(); }
    wait::wait_queue& waiters() override { return waiters_; }
    struct stat status() const override {
        return {};
    }
    std::string link_text() const override { return "some"; }

    void become(std::uint32_t events) { events_.store(events); }
    /// Becomes it and wakes who waits for it, as the arrival of a datagram does.
    unsigned happen(std::uint32_t events) {
        become(events);
        return waiters_.active() ? waiters_.wake(events) : 0;
    }

private:
    std::atomic<std::uint32_t> events_{0};
    wait::wait_queue waiters_;
};

/// A thread that makes one call that may sleep.
template <class Answer>
class waiting_thread {
public:
    template <class Call>
    explicit waiting_thread(Call call)
        : thread_([this, call] {
              id_ = gettid();
              answer_ = call();
              done_ = true;
          }) {}
    ~waiting_thread() {
        if (thread_.joinable()) thread_.join();
    }
    waiting_thread(const waiting_thread&) = delete;

    /// Returns when it sleeps or has come back.
    void until_asleep() const {
        for (int seen = 0; seen < 3 && !done_; seen += sleeps())
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    bool done() const { return done_; }
    /// Waits for it to come back.
    const Answer& answer() {
        if (thread_.joinable()) thread_.join();
        return answer_;
    }
    void signal(int number) { pthread_kill(thread_.native_handle(), number); }

private:
    bool sleeps() const {
        if (id_ == 0) return false;
        std::ifstream stat("/proc/self/task/" + std::to_string(id_) + "/stat");
        std::string text;
        std::getline(stat, text);
        return text.find(") S ") != std::string::npos;
    }

    std::atomic<pid_t> id_{0};
    std::atomic<bool> done_{false};
    Answer answer_{};
    std::thread thread_;
};

/// A handler for SIGUSR1 that does nothing, as long as it lives.
class with_signal_handler {
public:
    explicit with_signal_handler(int flags) {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        action.sa_flags = flags;
        sigaction(SIGUSR1, &action, &before_);
    }
    ~with_signal_handler() { sigaction(SIGUSR1, &before_, nullptr); }
    with_signal_handler(const with_signal_handler&) = delete;

private:
    struct sigaction before_ {};
};

/// CPU time of the calling thread.
inline std::chrono::nanoseconds cpu_time() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

}  // namespace skua::sockfs
