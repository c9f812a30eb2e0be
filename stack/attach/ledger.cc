// Each socket has a place of its own, with two halves for its notes: one is true while the other is written.
#include "attach/ledger.hh"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace skua::attach {

namespace {

constexpr std::uint64_t magic = 0x72656764'656c6173ull;
constexpr std::uint32_t layout = 1;
constexpr std::size_t page = 4096;
constexpr std::size_t half_size = 24 * page;  // a BPF program of the greatest length, and all the options there are

/// In front of each value.
struct packed_note {
    std::uint64_t order;
    request what;
    std::int32_t level, name;
    std::uint32_t length;
};

}  // namespace

struct ledger::head {
    std::uint64_t magic;
    std::uint32_t layout, protocol;
    std::uint32_t incarnation;
    std::uint64_t order;
    std::uint64_t last_id;
};

/// The first half begins beside the facts, so that a socket that was told little takes one page.
struct ledger::place {
    facts of;
    std::atomic<std::uint32_t> used;  // 0: free, else it is taken, and the true half is the one of this number, from 1
    std::uint32_t length[2];
    static constexpr std::size_t front = sizeof(facts) + 3 * sizeof(std::uint32_t);
    std::byte notes[2 * half_size - front];

    std::span<std::byte> half(std::uint32_t i) {
        constexpr std::size_t first = half_size - front;
        return i == 0 ? std::span(notes).first(first) : std::span(notes).subspan(first);
    }
};

ledger::ledger(region memory) : memory_(std::move(memory)) {
    for (std::size_t i = places; i > 0; i--) {
        const place& p = at(i - 1);
        if (p.used.load() == 0) free_.push_back(static_cast<std::uint32_t>(i - 1));
        else known_.emplace_back(p.of.id, static_cast<std::uint32_t>(i - 1));
    }
    std::sort(known_.begin(), known_.end());
}

ledger::head& ledger::header() const { return *memory_.as<head>(); }

ledger::place& ledger::at(std::size_t i) const {
    static_assert(sizeof(place) == 2 * half_size);
    return *reinterpret_cast<place*>(&memory_.bytes()[page + i * sizeof(place)]);
}

result<ledger> ledger::make() {
    auto memory = region::make("skua-ledger", page + places * sizeof(place));
    if (!memory) return fail(memory.error().code);
    *memory->as<head>() = {magic, layout, protocol_version, 1, 0, 0};
    return ledger(std::move(*memory));
}

result<ledger> ledger::take_over(int fd) {
    auto memory = region::open(fd, page + places * sizeof(place));
    if (!memory) return fail(memory.error().code);
    head& h = *memory->as<head>();
    if (h.magic != magic || h.layout != layout || h.protocol != protocol_version) return fail(EINVAL);
    h.incarnation++;
    return ledger(std::move(*memory));
}

std::uint32_t ledger::incarnation() const { return header().incarnation; }
std::uint64_t ledger::last_id() const { return header().last_id; }

ledger::place* ledger::find(std::uint64_t id) const {
    const auto found = std::lower_bound(known_.begin(), known_.end(), std::pair(id, 0u));
    return found != known_.end() && found->first == id ? &at(found->second) : nullptr;
}

std::vector<ledger::entry> ledger::entries() const {
    std::vector<entry> all;
    for (const auto& [id, i] : known_) all.push_back({at(i).of, read(at(i))});
    return all;
}

result<void> ledger::add(const facts& f) {
    if (free_.empty()) return fail(ENOSPC);
    const std::uint32_t i = free_.back();
    free_.pop_back();
    place& p = at(i);
    p.of = f;
    p.length[0] = p.length[1] = 0;
    header().last_id = std::max(header().last_id, f.id);
    p.used.store(1, std::memory_order_release);
    known_.insert(std::upper_bound(known_.begin(), known_.end(), std::pair(f.id, i)), {f.id, i});
    return {};
}

void ledger::remove(std::uint64_t id) {
    place* const p = find(id);
    if (p == nullptr) return;
    p->used.store(0, std::memory_order_release);
    const auto found = std::lower_bound(known_.begin(), known_.end(), std::pair(id, 0u));
    const std::uint32_t i = found->second;
    // Back to the system: few sockets are ever told as much as one may be.
    fallocate(memory_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(page + i * sizeof(place)),
              sizeof(place));
    free_.push_back(i);
    known_.erase(found);
}

std::vector<ledger::note> ledger::read(const place& p) {
    std::vector<note> all;
    const std::uint32_t which = p.used.load(std::memory_order_acquire) - 1;
    if (which > 1) return all;
    auto left = std::span<const std::byte>(const_cast<place&>(p).half(which)).first(p.length[which]);
    packed_note n;
    while (left.size() >= sizeof n) {
        std::memcpy(&n, left.data(), sizeof n);
        left = left.subspan(sizeof n);
        if (n.length > left.size()) break;
        all.push_back({n.order, n.what, n.level, n.name, {left.begin(), left.begin() + n.length}});
        left = left.subspan(n.length);
    }
    return all;
}

result<void> ledger::write(place& p, std::span<const note> notes) {
    const std::uint32_t other = p.used.load(std::memory_order_relaxed) == 1 ? 1 : 0;
    const auto to = p.half(other);
    std::size_t length = 0;
    for (const note& n : notes) {
        const packed_note head{n.order, n.what, n.level, n.name, static_cast<std::uint32_t>(n.value.size())};
        if (to.size() - length < sizeof head + n.value.size()) return fail(ENOSPC);
        std::memcpy(&to[length], &head, sizeof head);
        length += sizeof head;
        std::copy(n.value.begin(), n.value.end(), to.begin() + static_cast<std::ptrdiff_t>(length));
        length += n.value.size();
    }
    p.length[other] = static_cast<std::uint32_t>(length);
    p.used.store(other + 1, std::memory_order_release);
    return {};
}

result<void> ledger::tell(std::uint64_t id, request what, std::int32_t level, std::int32_t name,
                          std::span<const std::byte> value) {
    place* const p = find(id);
    if (p == nullptr) return {};
    auto notes = read(*p);
    // What was so before the bind must be so again before it: only later words on the same thing are replaced.
    const auto bound = std::find_if(notes.begin(), notes.end(), [](const note& n) { return n.what == request::bind; });
    const auto from = bound == notes.end() || what == request::bind ? notes.begin() : bound;
    notes.erase(std::remove_if(from, notes.end(),
                               [&](const note& n) { return n.what == what && n.level == level && n.name == name; }),
                notes.end());
    notes.push_back({++header().order, what, level, name, {value.begin(), value.end()}});
    return write(*p, notes);
}

void ledger::untell(std::uint64_t id, request what) {
    place* const p = find(id);
    if (p == nullptr) return;
    auto notes = read(*p);
    if (std::erase_if(notes, [&](const note& n) { return n.what == what; }) != 0) (void)write(*p, notes);
}

}  // namespace skua::attach
