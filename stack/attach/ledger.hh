// What every attached socket was told, in memory that outlives the daemon: the next one puts the sockets back by it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "attach/channel.hh"
#include "attach/region.hh"
#include "base/result.hh"

namespace skua::attach {

/// One thread. A daemon may be killed at any instruction: what note() was doing is then done wholly or not at all.
class ledger {
public:
    /// How a socket was made, and how its descriptor is known.
    struct facts {
        std::uint64_t id = 0;
        std::uint64_t cookie = 0;
        uid_t user = 0;
        std::int32_t domain = 0, type = 0, protocol = 0;
        std::uint64_t rx_bytes = 0, tx_bytes = 0;  // of its rings
    };
    struct note {
        std::uint64_t order = 0;  // of all notes of all sockets
        request what{};
        std::int32_t level = 0, name = 0;
        std::vector<std::byte> value;
    };
    struct entry {
        facts of;
        std::vector<note> notes;  // oldest first
    };
    static constexpr std::size_t places = 16384;

    /// Error: those of region::make.
    static result<ledger> make();
    /// Of a daemon that has gone; takes the descriptor over. Errors: EINVAL not a ledger, or another version's.
    static result<ledger> take_over(int fd);

    int fd() const { return memory_.fd(); }
    /// Of this daemon among those that had the ledger, from 1.
    std::uint32_t incarnation() const;
    std::uint64_t last_id() const;

    std::vector<entry> entries() const;
    /// Error: ENOSPC.
    result<void> add(const facts& f);
    void remove(std::uint64_t id);
    /// Of a socket that add() took; of others nothing is kept. What was said of the same thing since the socket was
    /// bound is replaced. Error: ENOSPC.
    result<void> tell(std::uint64_t id, request what, std::int32_t level, std::int32_t name,
                      std::span<const std::byte> value);
    /// Takes back what was noted of a request.
    void untell(std::uint64_t id, request what);

private:
    struct head;
    struct place;
    explicit ledger(region memory);
    head& header() const;
    place& at(std::size_t i) const;
    place* find(std::uint64_t id) const;
    static std::vector<note> read(const place& p);
    static result<void> write(place& p, std::span<const note> notes);

    region memory_;
    std::vector<std::uint32_t> free_;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> known_;  // ids and places, sorted
};

}  // namespace skua::attach
