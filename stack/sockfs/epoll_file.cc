// Changing a set, collecting what is ready, and the wake-up that comes from the shards.
#include "sockfs/epoll_file.hh"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/own_descriptor.hh"
#include "wait/doorbell.hh"

namespace skua::sockfs {

namespace {

/// Who watches whom, in all sets: a file may end, and sets may be joined to rings, from any side.
std::mutex watching;

constexpr std::uint32_t private_bits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
constexpr std::uint32_t in_or_out = EPOLLIN | EPOLLOUT;
constexpr std::uint32_t exclusive_allowed = in_or_out | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
constexpr unsigned max_nests = 4;  // EP_MAX_NESTS

}  // namespace

void file::release() {
    if (is_watched_.load(std::memory_order_acquire)) epoll_file::forget(*this);
}

// ---- one watched file ----

epoll_item::epoll_item(epoll_file& set, file& target, const epoll_event& event)
    : set_(set), target_(target), event_(event), parked_{this}, node_(parked_.begin()) {
    event_.events |= EPOLLERR | EPOLLHUP;
}

bool epoll_item::notify(std::uint32_t events) {
    // As ep_poll_callback.
    std::uint32_t wanted;
    {
        const std::lock_guard hold(set_.ready_lock_);
        wanted = event_.events;
        if ((wanted & ~private_bits) == 0 || (events != 0 && (events & wanted) == 0))
            return (wanted & EPOLLEXCLUSIVE) == 0;
        set_.make_ready(*this);
    }
    bool took = (wanted & EPOLLEXCLUSIVE) == 0;
    if (set_.sleepers_.active()) {
        const std::uint32_t kind = events & in_or_out;
        took = took || kind == 0 || (kind != in_or_out && (wanted & kind) != 0);
        set_.sleepers_.wake(EPOLLIN, 1);
    }
    if (set_.pollers_.active()) set_.pollers_.wake(EPOLLIN, 1);
    return took;
}

// ---- changing the set ----

epoll_file::~epoll_file() {
    if (kernel_set_ >= 0) close(kernel_set_);
    if (kernel_side() >= 0) close(kernel_side());
}

void epoll_file::release() {
    {
        const std::lock_guard all(watching);
        const std::lock_guard hold(changes_);
        while (!items_.empty()) drop(items_.begin());
    }
    file::release();
}

void epoll_file::forget(file& ended) {
    const std::lock_guard all(watching);
    while (!ended.watched_by_.empty()) {
        epoll_item& item = *ended.watched_by_.back();
        epoll_file& set = item.set_;
        const std::lock_guard hold(set.changes_);
        set.drop(std::ranges::find_if(set.items_, [&](const auto& i) { return i.second.get() == &item; }));
    }
}

/// Under the lock of who watches whom and changes_.
void epoll_file::drop(std::map<key, std::unique_ptr<epoll_item>>::iterator at) {
    epoll_item& item = *at->second;
    item.target_.waiters().remove(item);  // nobody notifies it from here on
    {
        const std::lock_guard hold(ready_lock_);
        if (item.ready_) item.parked_.splice(item.parked_.end(), ready_, item.node_);
    }
    file& target = item.target_;
    std::erase(target.watched_by_, &item);
    items_.erase(at);
    if (target.kernel_side() >= 0 && kernel_side() >= 0 && !watches(target))
        epoll_ctl(kernel_side(), EPOLL_CTL_DEL, target.kernel_side(), nullptr);
    // Last: a file that nobody watches ends without asking us.
    target.is_watched_.store(!target.watched_by_.empty(), std::memory_order_release);
}

result<void> epoll_file::control(int operation, int fd, file& target, const epoll_event* event) {
    auto* const inner = dynamic_cast<epoll_file*>(&target);
    if (inner == this) return fail(EINVAL);
    // EPOLLEXCLUSIVE can be given when a file is added, and only together with few others (do_epoll_ctl).
    if (operation != EPOLL_CTL_DEL && (event->events & EPOLLEXCLUSIVE)) {
        if (operation == EPOLL_CTL_MOD) return fail(EINVAL);
        if (operation == EPOLL_CTL_ADD && (inner != nullptr || (event->events & ~exclusive_allowed)))
            return fail(EINVAL);
    }
    std::unique_lock all(watching, std::defer_lock);
    if (operation != EPOLL_CTL_MOD) all.lock();
    if (operation == EPOLL_CTL_ADD && inner != nullptr)
        if (auto ok = may_watch(*inner); !ok) return ok;
    const std::lock_guard hold(changes_);
    const auto at = items_.find({&target, fd});
    switch (operation) {
        case EPOLL_CTL_ADD: return at == items_.end() ? add(fd, target, *event) : fail(EEXIST);
        case EPOLL_CTL_MOD:
            if (at == items_.end()) return fail(ENOENT);
            if (at->second->event_.events & EPOLLEXCLUSIVE) return fail(EINVAL);
            return modify(*at->second, *event);
        case EPOLL_CTL_DEL:
            if (at == items_.end()) return fail(ENOENT);
            drop(at);
            return {};
        default: return fail(EINVAL);
    }
}

result<void> epoll_file::add(int fd, file& target, const epoll_event& event) {
    auto& item = *items_.emplace(key{&target, fd}, std::make_unique<epoll_item>(*this, target, event)).first->second;
    target.watched_by_.push_back(&item);
    target.is_watched_.store(true, std::memory_order_release);
    if (event.events & EPOLLEXCLUSIVE) target.waiters().add_exclusive(item);
    else target.waiters().add(item);
    if (target.kernel_side() >= 0) follow_kernel_side_of(static_cast<epoll_file&>(target));
    return modify(item, event);
}

result<void> epoll_file::modify(epoll_item& item, const epoll_event& event) {
    {
        const std::lock_guard hold(ready_lock_);
        item.event_ = event;
        item.event_.events |= EPOLLERR | EPOLLHUP;
    }
    // Either who makes the file ready sees the new mask, or we see what it did.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if ((item.target_.poll_events() & item.event_.events) == 0) return {};
    bool fresh;
    {
        const std::lock_guard hold(ready_lock_);
        fresh = make_ready(item);
    }
    if (fresh) wake();
    return {};
}

// ---- sets within sets ----

/// As ep_loop_check: no rings, and no chain of more than max_nests sets within each other.
result<void> epoll_file::may_watch(const epoll_file& inner) const {
    const unsigned below = inner.depth_below(*this, 0);
    if (below > max_nests || below + 1 + depth_above(0) > max_nests) return fail(ELOOP);
    return {};
}

unsigned epoll_file::depth_below(const epoll_file& top, unsigned depth) const {
    unsigned deepest = 0;
    for (const auto& [k, item] : items_) {
        const auto* const set = dynamic_cast<const epoll_file*>(k.first);
        if (set == nullptr) continue;
        if (set == &top || depth > max_nests) return max_nests + 1;
        deepest = std::max(deepest, set->depth_below(top, depth + 1) + 1);
    }
    return deepest;
}

unsigned epoll_file::depth_above(unsigned depth) const {
    unsigned highest = 0;
    if (depth > max_nests) return highest;
    for (const epoll_item* item : watched_by_) highest = std::max(highest, item->set_.depth_above(depth + 1) + 1);
    return highest;
}

bool epoll_file::watches(const file& f) const {
    return std::ranges::any_of(items_, [&](const auto& i) { return i.first.first == &f; });
}

// ---- the kernel's descriptors ----

result<void> epoll_file::control_kernel(int operation, int fd, const epoll_event* event) {
    const std::lock_guard all(watching);
    const std::lock_guard hold(changes_);
    // First: the set's own descriptors may take this very number.
    if (fcntl(fd, F_GETFD) < 0) return fail(EBADF);
    if (auto ok = need_kernel_side(); !ok) return ok;
    if (epoll_ctl(kernel_set_, operation, fd, const_cast<epoll_event*>(event)) != 0) return fail(errno);
    return {};
}

/// Under the lock of who watches whom.
result<void> epoll_file::need_kernel_side() {
    if (kernel_side() >= 0) return {};
    const int set = out_of_the_way(epoll_create1(EPOLL_CLOEXEC));
    const int side = set < 0 ? -1 : out_of_the_way(epoll_create1(EPOLL_CLOEXEC));
    epoll_event any{.events = EPOLLIN, .data = {}};
    if (side < 0 || epoll_ctl(side, EPOLL_CTL_ADD, set, &any) != 0) {
        const int why = errno;
        if (set >= 0) close(set);
        if (side >= 0) close(side);
        return fail(why);
    }
    kernel_set_ = set;
    kernel_side_.store(side, std::memory_order_release);
    for (epoll_item* outer : watched_by_) outer->set_.follow_kernel_side_of(*this);
    // Who sleeps without an eye on the kernel must look again.
    sleepers_.wake(EPOLLIN, 0);
    pollers_.wake(EPOLLIN, 0);
    return {};
}

/// Under the lock of who watches whom. If the kernel has no descriptor left, this set will hear of the inner one's
/// descriptors only when it wakes for something else.
void epoll_file::follow_kernel_side_of(epoll_file& inner) {
    if (!need_kernel_side()) return;
    epoll_event any{.events = EPOLLIN, .data = {}};
    epoll_ctl(kernel_side(), EPOLL_CTL_ADD, inner.kernel_side(), &any);  // EEXIST: watched through two descriptors
}

unsigned epoll_file::collect_kernel(std::span<epoll_event> out) {
    if (kernel_side() < 0 || out.empty()) return 0;
    const int n = epoll_wait(kernel_set_, out.data(), static_cast<int>(out.size()), 0);
    return n > 0 ? static_cast<unsigned>(n) : 0;
}

// ---- what is ready ----

/// Under ready_lock_. False: it was already.
bool epoll_file::make_ready(epoll_item& item) {
    if (item.ready_) return false;
    item.ready_ = true;
    ready_.splice(ready_.end(), item.parked_, item.node_);
    return true;
}

void epoll_file::wake() {
    if (sleepers_.active()) sleepers_.wake(EPOLLIN, 1);
    if (pollers_.active()) pollers_.wake(EPOLLIN, 1);
}

/// Inner sets do not notify us of what only the kernel knows.
void epoll_file::ask_inner_sets() {
    for (const auto& [k, item] : items_) {
        pollfd theirs{k.first->kernel_side(), POLLIN, 0};
        if (theirs.fd < 0 || ::poll(&theirs, 1, 0) <= 0) continue;
        const std::lock_guard hold(ready_lock_);
        make_ready(*item);
    }
}

unsigned epoll_file::collect(std::span<epoll_event> out) {
    // Either kind may fill the room: they take turns in coming first.
    const bool kernels_turn = turn_.fetch_add(1, std::memory_order_relaxed) % 2 == 1;
    unsigned n = kernels_turn ? collect_kernel(out) : 0;
    bool more = false;
    {
        const std::lock_guard hold(changes_);
        if (kernel_side() >= 0) ask_inner_sets();
        std::list<epoll_item*> taken;
        {
            const std::lock_guard ready(ready_lock_);
            taken.splice(taken.end(), ready_);
        }
        // As ep_send_events: what is level-triggered goes to the end of the list and is looked at again next time.
        while (!taken.empty() && n < out.size()) {
            epoll_item& item = *taken.front();
            {
                const std::lock_guard ready(ready_lock_);
                item.parked_.splice(item.parked_.end(), taken, item.node_);
                item.ready_ = false;
            }
            std::atomic_thread_fence(std::memory_order_seq_cst);
            const std::uint32_t events = item.target_.poll_events() & item.event_.events;
            if (events == 0) continue;
            out[n] = item.event_;
            out[n++].events = events;
            const std::lock_guard ready(ready_lock_);
            if (item.event_.events & EPOLLONESHOT) item.event_.events &= private_bits;
            else if (!(item.event_.events & EPOLLET)) make_ready(item);
        }
        const std::lock_guard ready(ready_lock_);
        ready_.splice(ready_.begin(), taken);
        more = !ready_.empty();
    }
    // What is left, or ready again, is another thread's (ep_done_scan).
    if (more && sleepers_.active()) sleepers_.wake(EPOLLIN, 1);
    return kernels_turn ? n : n + collect_kernel(out.subspan(n));
}

result<unsigned> epoll_file::wait(std::span<epoll_event> out, time_point deadline, const sigset_t* mask) {
    for (;;) {
        if (const unsigned n = collect(out)) return n;
        if (deadline == time_point::min()) return 0u;
        std::vector<pollfd> kernel;
        if (const int side = kernel_side(); side >= 0) kernel.push_back({side, POLLIN, 0});
        // A signal handler ends this sleep whatever SA_RESTART says: so there is always an end, though far away.
        const auto until = std::min(deadline, time_point::max() - nanoseconds(1));
        std::optional<wait::sleeper> plain;
        std::optional<wait::doorbell> bell;
        if (kernel.empty() && mask == nullptr) plain.emplace(spin_, EPOLLIN);
        else bell.emplace(kernel, mask, spin_, EPOLLIN);
        wait::sleeper& me = plain ? *plain : *bell;
        sleepers_.add_exclusive(me);
        bool none;
        {
            const std::lock_guard ready(ready_lock_);
            none = ready_.empty();
        }
        const auto why = none ? me.sleep_until(until) : wait::sleeper::woken::event;
        sleepers_.remove(me);
        if (const unsigned n = collect(out)) return n;
        if (why == wait::sleeper::woken::signal) return fail(EINTR);
        if (why == wait::sleeper::woken::timeout) return 0u;
    }
}

std::uint32_t epoll_file::poll_events() {
    // As __ep_eventpoll_poll: readable if something in the list is ready still; what is not leaves the list.
    pollfd kernels{kernel_side(), POLLIN, 0};
    if (kernels.fd >= 0 && ::poll(&kernels, 1, 0) > 0) return EPOLLIN | EPOLLRDNORM;
    bool found = false;
    {
        const std::lock_guard hold(changes_);
        while (epoll_item* const item = take_first()) {
            if ((item->target_.poll_events() & item->event_.events) == 0) continue;
            const std::lock_guard ready(ready_lock_);
            make_ready(*item);
            ready_.splice(ready_.begin(), ready_, item->node_);
            found = true;
            break;
        }
    }
    // Who looked at the list meanwhile did not see it.
    if (found && sleepers_.active()) sleepers_.wake(EPOLLIN, 1);
    return found ? EPOLLIN | EPOLLRDNORM : 0;
}

/// Out of the ready list, so that whatever happens to its file from here on puts it there again. nullptr: none.
epoll_item* epoll_file::take_first() {
    epoll_item* item;
    {
        const std::lock_guard hold(ready_lock_);
        if (ready_.empty()) return nullptr;
        item = ready_.front();
        item->parked_.splice(item->parked_.end(), ready_, item->node_);
        item->ready_ = false;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return item;
}

struct stat epoll_file::status() const {
    struct stat s {};
    s.st_mode = 0600;
    s.st_nlink = 1;
    s.st_blksize = 4096;
    return s;
}

std::size_t epoll_file::size() const {
    const std::lock_guard hold(changes_);
    return items_.size();
}

}  // namespace skua::sockfs
