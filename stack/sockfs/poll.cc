// poll(2) over files of the stack and descriptors of the kernel (Linux: fs/select.c, do_poll).
#include <algorithm>
#include <list>
#include <optional>

#include "sockfs/process.hh"
#include "wait/doorbell.hh"

namespace skua::sockfs {

namespace {

/// One file that a call of poll waits for.
class poll_entry final : public wait::waiter {
public:
    poll_entry(std::shared_ptr<file> f, std::uint32_t events, pollfd& answer)
        : file_(std::move(f)), events_(events | POLLERR | POLLHUP), answer_(answer) {}

    bool look() {
        answer_.revents = static_cast<short>(file_->poll_events() & events_);
        return answer_.revents != 0;
    }
    void wait_by(wait::sleeper& whom) {
        whom_ = &whom;
        file_->waiters().add(*this);
    }
    void stop_waiting() { file_->waiters().remove(*this); }
    bool notify(std::uint32_t events) override { return (events == 0 || (events & events_)) && whom_->notify(0); }
    /// The file's, the first time that it has one; -1 else.
    int new_kernel_side() {
        if (kernel_side_ >= 0) return -1;
        return kernel_side_ = file_->kernel_side();
    }
    bool has_new_kernel_side() const { return kernel_side_ < 0 && file_->kernel_side() >= 0; }

private:
    const std::shared_ptr<file> file_;
    const std::uint32_t events_;
    pollfd& answer_;
    wait::sleeper* whom_ = nullptr;
    int kernel_side_ = -1;
};

/// All that one call waits for.
class poll_set {
public:
    poll_set(const process& of, std::span<pollfd> fds) {
        for (auto& f : fds) {
            f.revents = 0;
            if (f.fd < 0) continue;
            if (auto open = of.files().get(f.fd)) {
                files_.emplace_back(std::move(open), static_cast<std::uint16_t>(f.events), f);
            } else if (of.shares_numbers()) {
                kernel_.push_back(f);
                kernel_answers_.push_back(&f);
            } else {
                f.revents = POLLNVAL;
                invalid_++;
            }
        }
        add_kernel_sides();
    }

    /// How many have something.
    unsigned look() {
        if (!kernel_.empty()) ::poll(kernel_.data(), kernel_.size(), 0);
        unsigned ready = invalid_;
        for (std::size_t i = 0; i < kernel_answers_.size(); i++) {
            kernel_answers_[i]->revents = kernel_[i].revents;
            ready += kernel_[i].revents != 0;
        }
        for (auto& e : files_) ready += e.look();
        return ready;
    }

    result<unsigned> wait(time_point deadline, const sigset_t* mask, nanoseconds spin) {
        // A signal handler ends this sleep whatever SA_RESTART says: so there is always an end, though far away.
        deadline = std::clamp(deadline, time_point(), time_point::max() - nanoseconds(1));
        for (;;) {
            if (const auto done = sleep(deadline, mask, spin)) return *done;
            add_kernel_sides();
        }
    }

private:
    /// Nothing if a set that we watch has got its first descriptor of the kernel, which this sleep would not hear.
    std::optional<result<unsigned>> sleep(time_point deadline, const sigset_t* mask, nanoseconds spin) {
        std::optional<wait::sleeper> plain;
        std::optional<wait::doorbell> bell;
        if (kernel_.empty() && mask == nullptr) plain.emplace(spin);
        else bell.emplace(kernel_, mask, spin);
        wait::sleeper& me = plain ? *plain : *bell;
        for (auto& e : files_) e.wait_by(me);
        auto why = wait::sleeper::woken::event;
        unsigned ready;
        while ((ready = look()) == 0 && why == wait::sleeper::woken::event && !misses_kernel_side()) {
            why = me.sleep_until(deadline);
            me.rearm();
        }
        for (auto& e : files_) e.stop_waiting();
        if (ready != 0 || why == wait::sleeper::woken::timeout) return ready;
        if (why == wait::sleeper::woken::signal) return fail(EINTR);
        return {};
    }

    void add_kernel_sides() {
        for (auto& e : files_)
            if (const int side = e.new_kernel_side(); side >= 0) kernel_.push_back({side, POLLIN, 0});
    }
    bool misses_kernel_side() const {
        return std::ranges::any_of(files_, [](const poll_entry& e) { return e.has_new_kernel_side(); });
    }

    std::list<poll_entry> files_;  // waiters stay where they are
    std::vector<pollfd> kernel_;
    std::vector<pollfd*> kernel_answers_;  // of the first ones; the others belong to sets of ours
    unsigned invalid_ = 0;
};

}  // namespace

result<unsigned> process::poll(std::span<pollfd> fds, time_point deadline, const sigset_t* mask) {
    poll_set set(*this, fds);
    const bool looks_only = deadline == time_point::min() && mask == nullptr;  // a mask can let a signal through
    if (const unsigned ready = set.look(); ready != 0 || looks_only) return ready;
    return set.wait(deadline, mask, spin_);
}

}  // namespace skua::sockfs
